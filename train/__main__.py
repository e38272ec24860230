"""Entry point of `train` and `python -m train`; `vividset` calls it."""

from __future__ import annotations

import vividset

if __name__ == "__main__":
    vividset.leave_script_folder()
from curate import interrupts  # after the current folder, which may have a curate.py, is out of the way


def main() -> None:
    """Install signal handlers, then import and run the commands."""
    interrupts.exit_on_signal()
    from train.cli import main as commands

    commands()


if __name__ == "__main__":
    vividset.run("train")
