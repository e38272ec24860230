"""Make docs/reference/python.md from the signatures and docstrings of the public Python API."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import curate
import train

HEAD = """# Python

Made by `make docs` from the docstrings. Each command calls one of these functions; keyword arguments are named as the
command's options, with the same defaults. `import curate` and `import train` are fast: libraries are loaded with the
first name that is used.

- `StrPath` is `str | os.PathLike[str]`. Where several paths are accepted, a single one is accepted too.
- `PhotoInput` is a path or URL, the `bytes` of a file, a PIL image, or an (H, W, 3) uint8 array.
- `Progress` is `Callable[[int, int], None]`: it is called with the number of photos (of steps, in
  `train.fit`) that are done, and of all.
- Exceptions form [one tree](errors.md#exceptions-in-python) below `curate.VividsetError`. A photo that cannot be used
  is a `curate.PhotoError`.
- A script needs no `if __name__ == "__main__"`, because worker processes do not import it.

[How to use vividset from Python](../how-to/use-from-python.md).
"""
METHODS = {"Colorizer": ("load", "colorize", "colorize_file"), "ColorUNet": ("forward",), "Checkpoint": ("network",)}
"""Methods that the page shows."""
_SECTION = re.compile(r"^(Args|Returns|Raises|Example):\n", re.MULTILINE)


def python_page() -> str:
    """The page: functions first, then classes, of `curate` and of `train`."""
    parts = [HEAD]
    module: ModuleType
    for module in (curate, train):
        parts.append(f"## {module.__name__}\n")
        names = [name for name in module.__all__ if not name.startswith("__")]
        names.sort(key=lambda name: (inspect.isclass(getattr(module, name)), name))
        parts += ["\n".join(_entry(module, name)) for name in names]
    return "\n".join(parts)


def _entry(module: ModuleType, name: str) -> Iterator[str]:
    thing = getattr(module, name)
    yield f"### {module.__name__}.{name}\n"
    if not inspect.isclass(thing):
        yield from _callable(f"{module.__name__}.{name}", thing)
        return
    yield from _described(inspect.getdoc(thing) or "")
    if is_dataclass(thing):
        yield from _fields(thing)
    for method in METHODS.get(name, ()):
        yield from _callable(f"{name}.{method}", getattr(thing, method))


def _callable(name: str, function: Any) -> Iterator[str]:
    yield "```python"
    yield _signature(name, function)
    yield "```\n"
    yield from _described(inspect.getdoc(function) or "")


def _signature(name: str, function: Any) -> str:
    """The call, on one line or with a line for each argument."""
    signature = inspect.signature(function)
    arguments: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in arguments:
            arguments.append("*")
        if parameter.name in ("self", "cls"):
            continue
        default = parameter.default
        shown = "print" if default is print else f"'{default}'" if isinstance(default, Path) else repr(default)
        equals = "" if default is parameter.empty else f" = {shown}"
        arguments.append(f"{parameter.name}: {parameter.annotation}{equals}")
    returned = f" -> {signature.return_annotation}"
    line = f"{name}({', '.join(arguments)}){returned}"
    return (
        line
        if len(line) <= 100
        else f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){returned}"
    )


def _described(text: str) -> Iterator[str]:
    """A docstring in Google style as Markdown."""
    first, *sections = _SECTION.split(text)
    yield _paragraphs(first)
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        content, rest = textwrap.dedent(body), ""
        if title != "Example":
            content, _, rest = content.partition("\n\n")
        if title == "Example":
            shown = re.sub(r"\s+# doctest:.*", "", content.strip())
            yield f"Example:\n\n```text\n{shown}\n```\n"
        elif title == "Returns":
            yield f"Returns: {_joined(content)}\n"
        else:
            yield {"Args": "Arguments", "Raises": "Raises"}[title] + ":\n"
            for item in re.split(r"\n(?=\S)", content.strip()):
                names, _, meaning = _joined(item).partition(": ")
                shown = [f"`{one}`" if one.isidentifier() else one for one in names.split(", ")]
                yield f"- {', '.join(shown)}: {meaning}"
            yield ""
        if rest.strip():
            yield _paragraphs(rest)


def _fields(thing: type) -> Iterator[str]:
    """The fields of a dataclass with the docstrings below them in its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    assert isinstance(tree, ast.ClassDef)  # noqa: S101
    entries = {entry.name: entry for entry in fields(thing)}
    yield "Fields:\n"
    for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        meaning = entries[name].metadata.get("reason", "")
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            meaning = _joined(str(following.value.value))
        yield f"- `{name}: {ast.unparse(statement.annotation)}`" + (f": {meaning}" if meaning else "")
    yield ""


def _paragraphs(text: str) -> str:
    """Paragraphs, each on one line; doctests and indented formulas as code."""
    done = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        code = paragraph.lstrip().startswith(">>>")
        done.append(f"```text\n{textwrap.dedent(paragraph)}\n```" if code else _joined(paragraph))
    return "\n\n".join(done) + "\n"


def _joined(text: str) -> str:
    return " ".join(text.split())
