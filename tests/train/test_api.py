"""The public Python API of `train`, and the Python programs of the README and the how-to pages."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pytest
import skimage
from PIL import Image

import curate
import train
from curate.cli.common import CONTEXT_SETTINGS
from train.cli import main

ROOT = Path(__file__).parent.parent.parent
DATA = Path(skimage.__file__).parent / "data"
EXAMPLE = ROOT / "examples" / "python_api.py"
PAGES = ("README.md", "docs/how-to/compare-with-papers.md", "docs/how-to/use-from-python.md")
CLI_ONLY = {
    "fit": set[str](),
    "evaluate": {"as_json"},
    "compare": {"as_json"},
    "diagnose": {"as_json"},
    "export": set[str](),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "fit": train.fit,
    "evaluate": train.evaluate,
    "compare": train.compare,
    "diagnose": train.diagnose,
    "export": train.export_onnx,
}


@pytest.fixture
def home(tmp_path: Path, checkpoint_file: Callable[..., Path]) -> Path:
    """A folder with real photos and a run, as the pages assume it."""
    home = tmp_path / "home"
    (home / "photos").mkdir(parents=True)
    for name in ("coffee.png", "rocket.jpg", "chelsea.png", "camera.png"):
        with Image.open(DATA / name) as image:
            image.thumbnail((160, 160))
            image.save(home / "photos" / name)
    shutil.copy(DATA / "rocket.jpg", home / "photo.jpg")
    with Image.open(DATA / "camera.png") as image:
        image.save(home / "old-photo.jpg")
    (home / "runs" / "clean").mkdir(parents=True)
    shutil.copy(checkpoint_file(), home / "runs" / "clean")
    return home


def run_script(program: str, home: Path, warnings: str = "error") -> str:
    """What a program prints that is started as a script file, without a guard."""
    (home / "script.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", warnings, "script.py"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_exists_and_is_no_submodule() -> None:
    modules = {module.name for module in pkgutil.iter_modules(train.__path__)}
    assert not modules & set(train.__all__)
    for name in modules - {"__main__"}:
        importlib.import_module(f"train.{name}")
    for name in train.__all__:
        assert callable(getattr(train, name))
        assert name in dir(train)


def test_import_loads_no_torch() -> None:
    code = "import sys, train; print([name for name in ('torch', 'numpy', 'kornia', 'pyarrow') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_options_and_defaults_of_its_command(name: str) -> None:
    command = main.commands[name]
    context = command.make_context(name, [], resilient_parsing=True, **CONTEXT_SETTINGS)  # its help option is kept
    signature = inspect.signature(FUNCTIONS[name]).parameters
    for option in command.params:
        if not isinstance(option, click.Option) or option.name in CLI_ONLY[name] | {"help"}:
            continue
        assert option.name in signature, f"--{option.name}"
        if signature[option.name].default is not inspect.Parameter.empty:
            assert context.params[option.name] == signature[option.name].default, f"--{option.name}"


def test_every_argument_is_named_and_documented() -> None:
    for name in train.__all__:
        function = getattr(train, name)
        if inspect.isfunction(function):
            for parameter in inspect.signature(function).parameters.values():
                assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL), name
                assert parameter.name in (inspect.getdoc(function) or ""), f"{name}({parameter.name})"


@pytest.mark.parametrize("name", ["rocket.jpg", "coffee.png", "camera.png", "logo.png", "turned.jpg"])
def test_colorize_gives_the_pixels_that_the_command_writes(
    name: str, tmp_path: Path, checkpoint_file: Callable[..., Path]
) -> None:
    path = tmp_path / name
    with Image.open(DATA / ("rocket.jpg" if name == "turned.jpg" else name)) as image:
        image.thumbnail((120, 120))
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "turned.jpg" else 1
        image.save(path, exif=exif)
    colorizer = train.Colorizer.load(checkpoint_file())
    colorizer.colorize_file(path, tmp_path / "written.png")
    with Image.open(tmp_path / "written.png") as written, Image.open(path) as image:
        for photo in (path, str(path), path.read_bytes(), image):
            picture = colorizer.colorize(photo)
            assert (picture.mode, picture.size) == (written.mode, written.size)
            assert np.array_equal(np.asarray(picture), np.asarray(written))
        if written.mode == "RGB":
            assert np.array_equal(np.asarray(colorizer.colorize(curate.decode(path))), np.asarray(written))


def test_a_script_without_a_guard_trains_on_several_devices(
    clean_manifest: Callable[..., Path], tmp_path: Path
) -> None:
    program = f"""
print("script starts", flush=True)
import train
recipe = train.Recipe(image_size=32, channels=2, epochs=1, batch_size=1, devices=2)
result = train.fit({str(clean_manifest())!r}, run_dir="run", recipe=recipe, device="cpu", workers=0)
print(result.steps, "steps")
"""
    printed = run_script(program, tmp_path, "ignore")  # torch warns in its own processes
    assert printed.count("script starts") == 1
    assert printed.endswith("2 steps\n")


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_of_a_page_run_in_their_order(page: str, home: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert programs
    run_script("\n".join(programs), home)
    if "README" in page:
        assert (home / "clean.parquet").exists()


def test_the_example_uses_every_public_name_and_runs(home: Path) -> None:
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    for module in (curate, train):
        assert not {f"{module.__name__}.{name}" for name in module.__all__} - used
    assert run_script(EXAMPLE.read_text(encoding="utf-8"), home).endswith("done\n")


if TYPE_CHECKING:  # `make lint` checks examples/python_api.py, and here that wrong names and types are errors
    curate.measure_photo("photo.jpg")  # type: ignore[attr-defined]
    curate.measure(3)  # type: ignore[arg-type]
    train.Coloriser.load("run")  # type: ignore[attr-defined]
