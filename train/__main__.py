"""Entry point of `train` and `python -m train`."""

from __future__ import annotations

from curate import interrupts


def main() -> None:
    """Install signal handlers, then import and run the commands."""
    interrupts.exit_on_signal()
    from train.cli import main as commands

    commands()


if __name__ == "__main__":
    main()
