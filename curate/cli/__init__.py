"""The command `curate`. Only this package uses click, prints results or chooses exit codes.

- common: error handling, exit codes, progress bar and options that several commands share
- filter_options: the options of `filter`, which `explain` shares
- libraries: the error message for a library that cannot be imported
- summaries: the lines that commands print
- scan, merge, filter, report, inspect (also `explain`), pack, export: one command each

Heavy libraries are imported inside the commands, so that `--help` starts fast.
"""

from __future__ import annotations

import click

from curate.cli.common import CONTEXT_SETTINGS, READ_ONLY, RESUMABLE, WRITES_AT_END, ErrorHandlingGroup
from curate.cli.export import export
from curate.cli.filter import filter_command
from curate.cli.inspect import explain, inspect
from curate.cli.merge import merge
from curate.cli.pack import pack
from curate.cli.report import report
from curate.cli.scan import scan
from curate.version import __version__


@click.group(cls=ErrorHandlingGroup, context_settings=CONTEXT_SETTINGS)
@click.version_option(__version__, prog_name="curate")
def main() -> None:
    """Turn a collection of photos into a data set for training a colorizer.

    \b
    curate scan ./photos                    measure every photo once
    curate filter --min-colorfulness 20     select photos by these measurements; repeat as you like
    curate report                           write an HTML page to compare thresholds
    train fit manifests/clean.parquet       train on the selected photos
    """


main.add_commands(
    {
        scan: RESUMABLE,
        merge: WRITES_AT_END,
        filter_command: WRITES_AT_END,
        report: WRITES_AT_END,
        explain: READ_ONLY,
        inspect: READ_ONLY,
        pack: RESUMABLE,
        export: RESUMABLE,
    }
)
