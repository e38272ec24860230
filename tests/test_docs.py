"""What is written for people is what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("manifests/*.md")])


def test_the_page_of_commands_is_their_own_help() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generate.page(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_option_that_the_readme_names_exists() -> None:
    commands = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`?(--[a-z][a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named
    assert not [option for option in named if option not in commands]


def test_the_schema_page_names_every_column() -> None:
    from curate.manifest import DECISION, SCAN_SCHEMA

    page = (ROOT / "manifests" / "README.md").read_text(encoding="utf-8")
    columns = [*SCAN_SCHEMA.names, *(column.name for column in DECISION)]
    assert not [name for name in columns if f"`{name}`" not in page and not name.startswith("tone_")]


def test_every_command_and_option_of_the_page_on_scale_exists() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    commands = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert {"merge", "scan", "filter"} <= set(re.findall(r"curate ([a-z]+)", page))
    assert not [name for name in re.findall(r"curate ([a-z]+)", page) if f"## curate {name}" not in commands]
    assert not [name for name in re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", page) if name not in commands]
