"""Write the generated pages of docs/ from the programs themselves, so that they agree. `make docs` runs it.

python docs/generate.py            the pages of docs/reference, and the tutorial without its training
python docs/generate.py --train    the tutorial with its training and its picture: some minutes
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from PIL import Image
from python_reference import python_page

from curate.cli import main as curate
from train.cli import main as train
from train.recipe import Recipe

DOCS = Path(__file__).parent
COMMANDS = DOCS / "reference" / "cli.md"
PYTHON = DOCS / "reference" / "python.md"
RECIPE = DOCS / "reference" / "recipe.md"
TUTORIAL = DOCS / "tutorial" / "first-colorizer.md"
PICTURE = DOCS / "images" / "tutorial.jpg"
SHOWN_FOLDER = "/home/you/colors"
"""Replaces, in the outputs of the tutorial, the temporary folder in which its commands ran."""
MAX_OUTPUT_LINES = 40
_CONSOLE = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```", re.DOTALL)
_PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)


def commands_page() -> str:
    """The page of commands: the help of every command of both stages."""
    parts = ["# Commands", "", "Made by `make docs` from the commands' own `--help`.", ""]
    for name, group in (("curate", curate), ("train", train)):
        context = click.Context(group, info_name=name, terminal_width=100, **group.context_settings)
        parts += _section(name, group.get_help(context))
        for command_name in group.list_commands(context):
            command = group.commands[command_name]
            inner = click.Context(
                command, parent=context, info_name=command_name, max_content_width=100, terminal_width=100
            )
            parts += _section(f"{name} {command_name}", command.get_help(inner))
    return "\n".join(parts)


def recipe_page() -> str:
    """The page of hyper-parameters, as `train recipe` prints them."""
    head = [
        "# Recipe",
        "",
        "The documented hyper-parameters of `train fit`. Made by `make docs` from `train recipe`.",
        "",
    ]
    rows = [f"| `{name}` | {value} | {reason} |" for name, value, reason in Recipe().describe()]
    return "\n".join([*head, "| name | default | meaning and reason |", "|---|---|---|", *rows, ""])


def tutorial_page(page: str, home: Path, *, with_training: bool) -> str:
    """The tutorial with the outputs that its commands have now.

    Args:
        page: the tutorial as it is.
        home: empty folder in which its commands run, in their order.
        with_training: run the commands of `train` too; otherwise their outputs stay as they are.
    """
    program = _PROGRAM.search(page)
    assert program is not None  # noqa: S101
    (home / "make_photos.py").write_text(program[1], encoding="utf-8")

    def with_output(block: re.Match[str]) -> str:
        name, *arguments = shlex.split(block["command"])
        if name == "train" and not with_training:
            return block[0]
        return f"```console\n$ {block['command']}\n{_run(name, arguments, home)}```"

    return _CONSOLE.sub(with_output, page)


def without_varying_values(page: str) -> str:
    """Remove hashes, file sizes and line breaks, which depend on the name of the folder and on the time."""
    return " ".join(re.sub(r"\b[0-9a-f]{12,64}\b|[\d.]+ (?=[kM]B\b)", "", page).split())


def _run(name: str, arguments: list[str], home: Path) -> str:
    """Run a command and return what it prints, on both streams."""
    program = [sys.executable] if name == "python" else [sys.executable, "-m", name]
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent.resolve())}
    finished = subprocess.run(
        [*program, *arguments],
        cwd=home,
        env=environment,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if finished.returncode:
        sys.exit(f"the tutorial's command failed: {shlex.join([name, *arguments])}\n{finished.stdout}")
    return _shorten(finished.stdout.replace(str(home.resolve()), SHOWN_FOLDER).replace(f"python -m {name}", name))


def _shorten(output: str) -> str:
    """Shorten a long output, such as the progress of a training, to its start and its end."""
    lines = output.splitlines(keepends=True)
    return output if len(lines) <= MAX_OUTPUT_LINES else "".join([*lines[:12], "...\n", *lines[-6:]])


def _draw(home: Path) -> None:
    """Save the picture of the tutorial: gray, colorized and original in a row, for each of two photos."""
    sheet = Image.new("RGB", (3 * 300, 0), "white")
    for name in ("camera.png", "coffee.png"):
        original = Image.open(home / "photos" / name).convert("RGB")
        colored = Image.open(home / "colored" / name).convert("RGB")
        size = (298, round(298 * original.height / original.width))
        top = sheet.height
        sheet = _extend(sheet, size[1] + 2)
        for column, picture in enumerate((original.convert("L").convert("RGB"), colored, original)):
            sheet.paste(picture.resize(size, Image.Resampling.LANCZOS), (300 * column, top))
    sheet.save(PICTURE, quality=88)


def _extend(sheet: Image.Image, rows: int) -> Image.Image:
    larger = Image.new("RGB", (sheet.width, sheet.height + rows), "white")
    larger.paste(sheet, (0, 0))
    return larger


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", "", "```text", text.rstrip(), "```", ""]


def main() -> None:
    """Write all generated pages."""
    with_training = "--train" in sys.argv[1:]
    COMMANDS.write_text(commands_page(), encoding="utf-8")
    PYTHON.write_text(python_page(), encoding="utf-8")
    RECIPE.write_text(recipe_page(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        old_page = TUTORIAL.read_text(encoding="utf-8")
        page = tutorial_page(old_page, home, with_training=with_training)
        if with_training:
            _draw(home)
    if with_training or without_varying_values(page) != without_varying_values(old_page):
        TUTORIAL.write_text(page, encoding="utf-8")
    print(f"written: {COMMANDS}, {PYTHON}, {RECIPE}, {TUTORIAL}")


if __name__ == "__main__":
    main()
