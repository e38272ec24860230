"""Write docs/cli.md from the commands' own help, so that the two can't differ. `make docs` runs it."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli import main as curate
from train.cli import main as train

PAGE = Path(__file__).with_name("cli.md")


def page() -> str:
    """The whole page: every command of both stages."""
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


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", "", "```text", text.rstrip(), "```", ""]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")
