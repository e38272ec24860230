"""Entry point of `curate` and `python -m curate`; `vividset` calls it."""

from __future__ import annotations

import vividset

if __name__ == "__main__":
    vividset.leave_script_folder()


def main() -> None:
    """Install signal handlers, then import and run the commands."""
    from curate import interrupts  # after the check that this is vividset's own package

    interrupts.exit_on_signal()
    from curate.cli import main as commands

    commands()


if __name__ == "__main__":
    vividset.run("curate")
