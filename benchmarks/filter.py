"""Compare the cost of `curate filter` on many rows with pyarrow copying the same file. `make bench` runs it small.

    python benchmarks/filter.py [--rows 10000000] [--twice] [--option "--keep-top 90%"]...

The manifest is synthetic, with the columns, types and distributions of a real one. Each command runs in its own
process, so that its time and peak memory can be measured. The files are made in processes of their own, too, because a
process counts the memory of the one that started it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import manifest
from curate.manifest import SCAN_SCHEMA, Lineage

ROW_GROUP_SIZE = 1 << 16
TABLE_SCHEMA = pa.schema(
    [("sha256", pa.string()), ("pwatermark", pa.float64()), ("punsafe", pa.float64()), ("caption", pa.string())]
)
PLAIN = """
import sys, pyarrow.parquet as pq
file = pq.ParquetFile(sys.argv[1])
with pq.ParquetWriter(sys.argv[2], file.schema_arrow, compression="zstd") as out:
    for batch in file.iter_batches(1 << 16):
        out.write_batch(batch)
"""


def main() -> None:
    """Make the manifest, run the commands, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--twice", action="store_true", help="make every photo appear twice, with the same content")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        help="options of curate filter for a further run; can be given several times",
    )
    parser.add_argument("--join", action="store_true", help="a further run with --join, of a table in another order")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scan, out = Path(scratch) / "scan.parquet", Path(scratch) / "out" / "clean.parquet"
        call_in_process(make_scan, scan, options.rows, options.twice)
        out.parent.mkdir()
        print(f"{options.rows:,} rows, {scan.stat().st_size / 1e9:.2f} GB")
        plain = run_command([sys.executable, "-c", PLAIN, str(scan), str(out.with_name("plain.parquet"))])
        out.with_name("plain.parquet").unlink()
        print(format_line("pyarrow: read and write", plain, plain))
        extras = ["", *options.option]
        if options.join:
            table = scan.with_name("table.parquet")
            call_in_process(make_table, scan, table)
            extras.append(f"--join {table} --max-column pwatermark 0.8")
        for extra in extras:
            command = [sys.executable, "-m", "curate", "filter", str(scan), "-o", str(out), *shlex.split(extra)]
            print(format_line(f"curate filter {extra}".strip(), run_command(command), plain))


def run_command(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its seconds, CPU seconds and peak memory in MB."""
    start_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} failed with exit code {process.returncode}")
    return time.perf_counter() - start_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def format_line(name: str, usage: tuple[float, float, float], plain: tuple[float, float, float]) -> str:
    """One line of the result, with ratios to plain pyarrow."""
    (wall_s, cpu_s, peak_mb), (plain_wall_s, plain_cpu_s, _) = usage, plain
    ratios = f"ratio {wall_s / plain_wall_s:.2f} (CPU {cpu_s / plain_cpu_s:.2f})"
    return f"{name:<40} {wall_s:7.1f} s  {cpu_s:7.1f} s CPU  {peak_mb:7,.0f} MB peak   {ratios}"


def call_in_process(function: Callable[..., None], *arguments: object) -> None:
    """Call a function in a new process."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def make_scan(path: Path, rows: int, twice: bool = False) -> None:
    """Write a synthetic scan, one row group at a time; with `twice`, every second group repeats the one before."""
    rng = np.random.default_rng(0)
    lineage = Lineage("scan", "benchmarks/filter.py", {}, rows=rows)
    with manifest.open_writer(path, SCAN_SCHEMA) as out:
        for start in range(0, rows, ROW_GROUP_SIZE):
            contents = np.random.default_rng([1, start // ROW_GROUP_SIZE // (2 if twice else 1)])
            out.write_table(make_rows(rng, contents, start, min(ROW_GROUP_SIZE, rows - start)))
        out.add_key_value_metadata(lineage.to_metadata())


def make_table(scan: Path, path: Path) -> None:
    """Write a table with numbers and a caption for nine photos in ten of a scan, in random order."""
    rng = np.random.default_rng(2)
    keys = pq.read_table(scan, columns=["sha256"]).combine_chunks()
    rows = rng.permutation(len(keys))[: len(keys) * 9 // 10]
    with pq.ParquetWriter(path, TABLE_SCHEMA) as out:
        for start in range(0, len(rows), ROW_GROUP_SIZE):
            part = rows[start : start + ROW_GROUP_SIZE]
            captions = [f"a photo with the number {row}, described in a line of text" for row in part.tolist()]
            numbers = rng.random((2, len(part)))
            sha256 = keys["sha256"].take(pa.array(part)).combine_chunks()
            out.write_table(pa.table([sha256, *numbers, captions], schema=TABLE_SCHEMA))


def make_rows(rng: np.random.Generator, contents: np.random.Generator, start: int, count: int) -> pa.Table:
    """Make rows like those of web photos: one error in a thousand, 6 % gray or toned, median M 39."""
    hashes = contents.bytes(32 * count).hex()
    colorfulness = rng.gamma(3.2, 13.5, count)
    tones = rng.choice(["color", "grayscale", "sepia", "toned"], count, p=[0.94, 0.03, 0.02, 0.01])
    levels = np.array(["not", "slightly", "moderately", "averagely", "quite", "highly", "extremely"])
    columns: dict[str, Any] = {
        "source": pa.array(["/data/photos"]).take(pa.array(np.zeros(count, int))),
        "tar_offset": pa.nulls(count, pa.int64()),
        "path": [f"{n % 997:03d}/photo_{n:08d}.jpg" for n in range(start, start + count)],
        "bytes": rng.integers(20_000, 300_000, count),
        "modified_ns": 1_700_000_000_000_000_000 + rng.integers(0, 10**15, count),
        "sha256": [hashes[64 * n : 64 * n + 64] for n in range(count)],
        "width": rng.choice([500, 640, 800, 1024], count),
        "height": rng.choice([333, 375, 480, 768], count),
        "format": pa.array(["JPEG"]).take(pa.array(np.zeros(count, int))),
        "mode": pa.array(["RGB"]).take(pa.array(np.zeros(count, int))),
        "orientation": np.ones(count, np.int8),
        "icc_profile": pa.array(rng.choice(["sRGB IEC61966-2.1", ""], count)),
        "digital_source_type": pa.nulls(count, pa.string()),
        "divider_count": np.zeros(count, np.int16),
        "colorfulness": colorfulness,
        "colorfulness_level": pa.array(levels[np.searchsorted([15, 33, 45, 59, 82, 109], colorfulness)]),
        "tone": pa.array(tones),
        "kind": pa.array(np.where(rng.random(count) < 0.05, "graphic", "photo")),
        "fingerprint": [hashes[64 * n + 32 : 64 * n + 64] for n in range(count)],
        "hue_peak_deg": 5.0 + 10 * (rng.gamma(2, 4, count).astype(int) % 36),
    }
    broken = rng.random(count) < 1e-3
    table = []
    for column in SCAN_SCHEMA:
        values = columns.get(column.name, rng.random(count))
        if column.name in ("missing_since", "sidecars"):
            values = pa.nulls(count)
        elif column.name == "error":
            values = pc.if_else(pa.array(broken), "BrokenPhoto: image file is truncated", pa.scalar(None, pa.string()))
        elif column.name not in ("source", "path", "tar_offset", "bytes", "modified_ns", "sha256"):
            values = pc.if_else(pa.array(broken), None, pa.array(values))
        table.append(pa.array(values).cast(column.type))
    return pa.table(table, schema=SCAN_SCHEMA)


if __name__ == "__main__":
    main()
