"""The documentation agrees with the code: generated pages, links, commands, options, columns and errors."""

from __future__ import annotations

import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("manifests/*.md")])
CODE = sorted(
    path
    for folder in ("curate", "train", "tests", "benchmarks", "examples")
    for path in ROOT.rglob(f"{folder}/**/*.py")
)
COMMANDS = ROOT / "docs" / "reference" / "cli.md"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "docs"))  # as in `python docs/generate.py`
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_is_up_to_date(generate: ModuleType) -> None:
    assert COMMANDS.read_text(encoding="utf-8") == generate.commands_page(), "run `make docs`"


def test_the_python_reference_is_up_to_date(generate: ModuleType) -> None:
    assert generate.PYTHON.read_text(encoding="utf-8") == generate.python_page(), "run `make docs`"


def test_the_recipe_reference_is_up_to_date(generate: ModuleType) -> None:
    page = (ROOT / "docs" / "reference" / "recipe.md").read_text(encoding="utf-8")
    assert page == generate.recipe_page(), "run `make docs`"


def test_the_outputs_of_curate_in_the_tutorial_are_up_to_date(generate: ModuleType, tmp_path: Path) -> None:
    page = generate.TUTORIAL.read_text(encoding="utf-8")
    printed = generate.tutorial_page(page, tmp_path, with_training=False)
    assert generate.without_varying_values(page) == generate.without_varying_values(printed), "run `make docs`"


def test_every_link_of_a_page_has_a_target() -> None:
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", _without_code(page))
        if "://" not in target
    ]
    assert links
    assert not [(str(page), target) for page, target in links if not _exists(page, target)]


def _exists(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    linked = page.parent / path if path else page
    return linked.exists() and (not anchor or anchor in _anchors(linked.resolve()))


@cache
def _anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    anchors: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", _without_code(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        repeats = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other) is not None for other in anchors)
        anchors.append(f"{anchor}-{repeats}" if repeats else anchor)
    return frozenset(anchors)


def _without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_the_index_lists_every_page() -> None:
    """Results and decisions have an index of their own."""
    for folder in ("how-to", "reference", "explanation", "tutorial", "results", "decisions"):
        folder_index = ROOT / "docs" / folder / "README.md"
        index, prefix = (folder_index, "") if folder_index.exists() else (ROOT / "docs" / "README.md", f"{folder}/")
        text = index.read_text(encoding="utf-8")
        pages = sorted(page.name for page in (ROOT / "docs" / folder).glob("*.md") if page != index)
        assert pages, folder
        assert not [name for name in pages if f"({prefix}{name})" not in text]


def test_every_page_that_the_code_names_exists() -> None:
    named = {
        (name, str(path.relative_to(ROOT)))
        for path in CODE
        for name in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
    }
    assert named
    assert not [pair for pair in sorted(named) if not (ROOT / pair[0]).exists()]


def test_every_command_and_option_of_a_page_exists() -> None:
    """In command lines. Results, decisions and the changelog may name commands of earlier versions."""
    commands = COMMANDS.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+ [\w-]+)\n(.*?)(?=^## |\Z)", commands, re.DOTALL | re.MULTILINE))
    lines = []
    for page in PAGES:
        if page.parent.name in ("results", "decisions") or page.name == "CHANGELOG.md":
            continue
        text = page.read_text(encoding="utf-8")
        lines += re.findall(r"^(?: {4}|\$ )((?:curate|train) [^#\n]*)", text, re.MULTILINE)
        lines += re.findall(r"`((?:curate|train) [a-z][^`]*)`", text)
    assert lines
    for line in lines:
        section = sections.get(" ".join(line.split()[:2]))
        assert section is not None, line
        options = re.findall(r"(?<=\s)(--[a-z][a-z-]+)", line)
        assert not [option for option in options if not re.search(rf"{option}(?![\w-])", section)], line


def test_every_option_that_the_pages_name_exists() -> None:
    commands = COMMANDS.read_text(encoding="utf-8")
    pages = [ROOT / "README.md", *ROOT.glob("docs/how-to/*.md"), *ROOT.glob("docs/explanation/*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", re.sub(r".*pip install.*", "", text)))
    assert named
    assert not [option for option in sorted(named) if not re.search(rf"{option}(?![\w-])", commands)]


def test_no_page_installs_the_package_from_an_index() -> None:
    """The package is not on an index: `pip install '.[heic]'` works in a clone."""
    assert not [str(page) for page in PAGES if re.search(r"pip install '?vividset", page.read_text(encoding="utf-8"))]


def test_the_schema_page_names_every_column() -> None:
    from curate.manifest import DECISION_FIELDS, SCAN_SCHEMA

    page = (ROOT / "docs" / "reference" / "manifest.md").read_text(encoding="utf-8")
    columns = [*SCAN_SCHEMA.names, *(column.name for column in DECISION_FIELDS)]
    assert not [name for name in columns if f"`{name}`" not in page and not name.startswith("tone_")]


def test_the_page_of_measures_names_every_measure() -> None:
    from curate.manifest.schema import MEASURE_FIELDS

    page = (ROOT / "docs" / "reference" / "measures.md").read_text(encoding="utf-8")
    names = [column.name for column in MEASURE_FIELDS if column.name != "colorfulness_level"]
    assert not [name for name in names if f"`{name}`" not in page]


def test_the_page_of_errors_names_every_kind() -> None:
    from curate import errors

    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    kinds = [*errors.VividsetError.__subclasses__(), *errors.PhotoError.__subclasses__()]
    assert not [kind.__name__ for kind in kinds if f"`{kind.__name__}`" not in page]
    transient = set(re.findall(r"^\| `(\w+)` \|.*\| yes \|$", page, re.MULTILINE))
    assert transient == errors.TRANSIENT_KINDS


def test_the_page_on_many_machines_shows_the_commands_of_a_divided_scan() -> None:
    page = (ROOT / "docs" / "how-to" / "scan-on-many-machines.md").read_text(encoding="utf-8")
    assert {"merge", "scan", "filter"} <= set(re.findall(r"curate ([a-z]+)", page))
