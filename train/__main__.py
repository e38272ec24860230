"""`train` and `python -m train`."""

from __future__ import annotations

from curate import interrupts


def main() -> None:
    """Run the command line."""
    interrupts.exit_on_signal()
    from train.cli import main as commands

    commands()


if __name__ == "__main__":
    main()
