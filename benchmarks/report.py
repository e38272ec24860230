"""Compare the cost of `curate report` on many rows with pyarrow reading the same file. `make bench` runs it small.

    python benchmarks/report.py [--rows 1000000] [--photos FOLDER]

The manifest is the synthetic one of benchmarks/filter.py. Its photos don't exist; with --photos, its rows point to the
files of that folder in turn, and a report of the folder's own scan is compared with that scan, in turns. CPU time
includes worker processes; the peak memory is that of the largest process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from clock import clock_and_cpu_s
from filter import ROW_GROUP_SIZE, format_line, make_scan, run_command

from curate import manifest
from curate.image.formats import PHOTO_SUFFIXES

PLAIN = """
import sys, pyarrow.parquet as pq
for batch in pq.ParquetFile(sys.argv[1]).iter_batches(1 << 16):
    pass
"""


def main() -> None:
    """Make the manifest, run both commands, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--photos", type=Path, help="a folder of real photos")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scan = Path(scratch) / "scan.parquet"
        if options.photos:  # first, because `clock_and_cpu_s` waits for all children, also for those of multiprocessing
            compare_with_scan(options.photos.resolve(), Path(scratch) / "photos.parquet")
        process = multiprocessing.get_context("spawn").Process(
            target=prepare, args=(scan, options.rows, options.photos)
        )
        process.start()  # in its own process: the peak of a child is at least the memory of its parent when it started
        process.join()
        print(f"{options.rows:,} rows, {scan.stat().st_size / 1e6:.0f} MB")
        plain = run_command([sys.executable, "-c", PLAIN, str(scan)])
        print(format_line("pyarrow: read", plain, plain))
        print(format_line("curate report", run_command([sys.executable, "-m", "curate", "report", str(scan)]), plain))
        print(f"the page: {scan.with_suffix('.html').stat().st_size / 1e6:.1f} MB")


def compare_with_scan(photos: Path, scan: Path) -> None:
    """Print the CPU time of a scan and of its report, of three turns each, and the median ratio."""
    curate = [sys.executable, "-m", "curate"]
    ratios = []
    for _ in range(3):
        _, scan_s = clock_and_cpu_s([*curate, "scan", str(photos), "-o", str(scan), "--overwrite"])
        _, report_s = clock_and_cpu_s([*curate, "report", str(scan)])
        ratios.append(report_s / scan_s)
        print(f"curate scan {scan_s:.1f} s CPU, its report {report_s:.1f} s CPU, ratio {ratios[-1]:.2f}")
    print(f"median ratio of report to scan: {statistics.median(ratios):.2f}")


def prepare(scan: Path, rows: int, photos: Path | None) -> None:
    """Write the manifest, with rows that point to real photos if there is a folder of them."""
    make_scan(scan, rows)
    if photos:
        use_photos(scan, photos.resolve())


def use_photos(scan: Path, photos: Path) -> None:
    """Change the rows of a manifest to real files, in turn."""
    names = sorted(path for path in photos.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    table = pq.read_table(scan)
    columns = {
        "source": [manifest.escape(str(photos))] * table.num_rows,
        "path": list(islice(cycle(manifest.escape(str(name.relative_to(photos))) for name in names), table.num_rows)),
    }
    for name, texts in columns.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(texts))
    with manifest.open_writer(scan, table.schema) as out:
        out.write_table(table, row_group_size=ROW_GROUP_SIZE)


if __name__ == "__main__":
    main()
