"""Compare reading all images of Parquet and Arrow files with pyarrow's own readers, and measure the memory. Linux only.

    python benchmarks/tables.py [--rows 4000] [--image-kb 100] [--rounds 5] [--random 50] [--files NAME...]
    python benchmarks/tables.py --scan 20 200

For Parquet files with row groups of 100 rows and of all rows, and Arrow streams with record batches of 100 rows and of
all rows: lists the file and reads every image in the order of the rows, and in turns lets pyarrow read the same column
row group by row group, or batch by batch, to bytes. Prints CPU time of both, as medians of the ratio of each round; the
time of an image in random order; and, from processes of their own that do each once, the peak memory.

With `--scan`: the peak memory of scans of 20 and of 200 Parquet files, each with 1,000 rows of images that can't be
decoded.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from memory import peak_kib, scan

from curate.sources import list_photos, read_listed_photo
from curate.sources.tables.reader import read_table_image

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
MAX_BYTES = 1 << 31


def main() -> None:
    """Print one line for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--image-kb", type=float, default=100, help="size of each image, which are random bytes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--random", type=int, default=50, help="images to read in random order")
    parser.add_argument("--files", nargs="+", choices=WRITERS, default=list(WRITERS))
    parser.add_argument("--scan", nargs="+", type=int, default=[], help="numbers of files to scan")
    parser.add_argument("--only", choices=("vividset", "pyarrow"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file:
        (read_here if options.only == "vividset" else read_with_pyarrow)(options.file)
        print(peak_kib(os.getpid()) // 1024)
        return
    for count in options.scan:
        scan_files(count)
    if options.scan:
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.files:
            path = Path(scratch) / name
            WRITERS[name](path, options.rows, int(options.image_kb * 1000))
            print(f"{name:<22} {compare(path, options.rounds, options.random)}", flush=True)
            path.unlink()


def scan_files(count: int) -> None:
    """Scan Parquet files in a folder, and print the peak memory of the scan and of its largest worker."""
    with tempfile.TemporaryDirectory() as scratch:
        names = []
        for number in range(count):
            names.append(str(Path(scratch) / f"{number:05}.parquet"))
            write_parquet(Path(names[-1]), 1000, 500, 100)
        (Path(scratch) / "list").write_text("\n".join(names), encoding="utf-8")
        seconds, parent, worker = scan(Path(scratch), Path(scratch) / "list")
    print(
        f"{1000 * count:>9,} rows   scan {parent // 1024} MB   largest worker {worker // 1024} MB   {seconds:.0f} s",
        flush=True,
    )


def compare(path: Path, rounds: int, random_reads: int) -> str:
    """The measurements of one file as text."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(cpu_s(read_here, path))
        theirs.append(cpu_s(read_with_pyarrow, path))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    photos = list(list_photos([path]))
    chosen = random.Random(0).sample(photos, min(random_reads, len(photos)))  # noqa: S311
    random_s = cpu_s(lambda where: [read_table_image(str(where), photo.offset or 0) for photo in chosen], path)
    listing_s = cpu_s(lambda where: sum(1 for _ in list_photos([where])), path)
    memory = [
        int(subprocess.run(command(path, who), check=True, capture_output=True, text=True).stdout)
        for who in ("vividset", "pyarrow")
    ]
    one, other = statistics.median(ours), statistics.median(theirs)
    return (
        f"{path.stat().st_size / 1e6:6.0f} MB   {one:5.2f} s, pyarrow {other:5.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})   "
        f"listing {1e6 * listing_s / len(photos):.1f} us per row   "
        f"random order {1000 * random_s / len(chosen):.2f} ms per image   "
        f"peak memory {memory[0]} MB, pyarrow {memory[1]} MB"
    )


def read_here(path: Path) -> None:
    """List a file, and read every image as a scan does."""
    for photo in list_photos([path]):
        read_listed_photo(photo, lambda _: True, max_bytes=MAX_BYTES)


def read_with_pyarrow(path: Path) -> None:
    """Read every image with pyarrow, a row group or a record batch at a time."""
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        tables = (file.read_row_group(group, columns=["image"]) for group in range(file.num_row_groups))
    else:
        tables = (pa.Table.from_batches([batch]) for batch in pa.ipc.open_stream(pa.OSFile(str(path))))
    for table in tables:
        for chunk in table["image"].chunks:
            for value in chunk:
                value.as_py()


def write_parquet(path: Path, rows: int, size: int, group_rows: int) -> None:
    """Write a Parquet file; a batch of 100 rows is in memory at a time, or a row group."""
    with pq.ParquetWriter(path, schema(), compression="none") as writer:
        for start in range(0, rows, group_rows):
            writer.write_table(make_table(start, min(group_rows, rows - start), size), row_group_size=group_rows)


def write_arrow(path: Path, rows: int, size: int, batch_rows: int) -> None:
    """Write an Arrow stream, as `datasets` does."""
    with pa.ipc.new_stream(str(path), schema()) as writer:
        for start in range(0, rows, batch_rows):
            table = make_table(start, min(batch_rows, rows - start), size).combine_chunks()
            writer.write_table(table)


def make_table(start: int, rows: int, size: int) -> pa.Table:
    """Rows of random bytes that begin like a JPEG."""
    chance = random.Random(start)  # noqa: S311
    images = [{"bytes": b"\xff\xd8\xff\xe0" + chance.randbytes(size), "path": f"{row}.jpg"} for row in range(rows)]
    return pa.table({"image": pa.array(images, IMAGE), "label": range(start, start + rows)}, schema())


def schema() -> pa.Schema:
    """The columns of the files."""
    features = '{"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "Value"}}}}'
    return pa.schema([("image", IMAGE), ("label", pa.int64())], {"huggingface": features})


def cpu_s(function: Callable[[Path], object], path: Path) -> float:
    """CPU time of a call in seconds."""
    start = time.process_time()
    function(path)
    return time.process_time() - start


def command(path: Path, who: str) -> list[str]:
    """The command that reads a file once and prints its peak memory."""
    return [sys.executable, __file__, "--file", str(path), "--only", who]


WRITERS: dict[str, Callable[[Path, int, int], None]] = {
    "groups-of-100.parquet": lambda path, rows, size: write_parquet(path, rows, size, 100),
    "one-group.parquet": lambda path, rows, size: write_parquet(path, rows, size, rows),
    "batches-of-100.arrow": lambda path, rows, size: write_arrow(path, rows, size, 100),
    "one-batch.arrow": lambda path, rows, size: write_arrow(path, rows, size, rows),
}


if __name__ == "__main__":
    main()
