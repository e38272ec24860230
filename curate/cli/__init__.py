"""The commands of stage one. The only room that knows click, prints, or picks an exit code.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import click

from curate.cli.common import GOES_ON, HELP, WRITES_NOTHING, WRITES_WHOLE, ErrorHandlingGroup
from curate.cli.export import export
from curate.cli.filter import filter_command
from curate.cli.inspect import explain, inspect
from curate.cli.merge import merge
from curate.cli.pack import pack
from curate.cli.report import report
from curate.cli.scan import scan
from curate.version import __version__


@click.group(cls=ErrorHandlingGroup, context_settings=HELP)
@click.version_option(__version__, prog_name="curate")
def main() -> None:
    """Turn a pile of photos into a data set that a colorizer can learn from.

    \b
    curate scan ./photos                    measure every photo once
    curate filter --min-colorfulness 20     decide from the numbers, as often as you like
    curate report                           look at what a line keeps and drops, on one page
    train fit manifests/clean.parquet       train on what was kept
    """


main.add(
    {
        scan: GOES_ON,
        merge: WRITES_WHOLE,
        filter_command: WRITES_WHOLE,
        report: WRITES_WHOLE,
        explain: WRITES_NOTHING,
        inspect: WRITES_NOTHING,
        pack: GOES_ON,
        export: GOES_ON,
    }
)
