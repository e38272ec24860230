"""Scan and read hundreds of damaged Parquet and Arrow files: each must give rows or a named error, and none may crash.

    python benchmarks/fuzz_tables.py [--mutants 100] [--seed 0] [--memory-gb 3] [--seconds 20]

Small files in many variants are damaged (bits flipped; pieces removed, repeated, exchanged or overwritten; the end cut
off), mostly in the footer or the headers. Processes of their own, with a limit on their address space, list each file,
read every image and the other columns of some rows. Prints the outcomes by variant. A file that ends its process, or
takes longer than `--seconds`, is saved as `fuzz-failure-N` and counted, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz import change

from curate.errors import PhotoError
from curate.sources import list_photos, parse_row_path, read_listed_photo, read_other_columns

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ROWS = 30


def main() -> None:
    """Print one line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=100, help="number of damaged copies of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-gb", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="longest time for one file")
    options = parser.parse_args()
    failures = 0
    for name, data in samples().items():
        rng = random.Random(f"{options.seed} {name}")  # noqa: S311
        mutants = [damage(data, rng) for _ in range(options.mutants)]
        outcomes, failed, slowest_s, peak_mb = fuzz(mutants, options.memory_gb, options.seconds)
        for number in failed:
            Path(f"fuzz-failure-{failures}").write_bytes(mutants[number])
            failures += 1
        counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        print(f"{name:<24} {len(mutants)}: {counts}; slowest {slowest_s:.2f} s, {peak_mb:.0f} MB", flush=True)
    sys.exit(1 if failures else 0)


def fuzz(mutants: list[bytes], memory_gb: float, seconds: float) -> tuple[Counter[str], list[int], float, float]:
    """Read all damaged copies of a file.

    Returns:
        Number of files per outcome; the numbers of those that ended their process or hung; the longest time of one file
        in seconds; and the peak memory of a process in MB.
    """
    outcomes: Counter[str] = Counter()
    failed: list[int] = []
    slowest_s = peak_mb = 0.0
    context = multiprocessing.get_context("forkserver")
    number = 0
    while number < len(mutants):
        ours, theirs = context.Pipe()
        process = context.Process(target=read_files, args=(mutants[number:], theirs, memory_gb))
        process.start()
        theirs.close()
        try:
            while ours.poll(seconds + (30 if not number else 0)):
                outcome, time_s, peak_mb_now = ours.recv()
                outcomes[outcome] += 1
                slowest_s, peak_mb = max(slowest_s, time_s), max(peak_mb, peak_mb_now)
                number += 1
            outcomes["HANGS"] += 1
            failed.append(number)
            number += 1
        except EOFError:
            process.join()
            if number < len(mutants):
                outcomes[f"EXIT {process.exitcode}"] += 1
                failed.append(number)
                number += 1
        process.kill()
        process.join()
    return outcomes, failed, slowest_s, peak_mb


def read_files(mutants: list[bytes], results: Connection, memory_gb: float) -> None:
    """In a process of its own: read files one after another, and send the outcome, seconds and peak memory of each."""
    limit = int(memory_gb * (1 << 30))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "0.parquet"
        for data in mutants:
            path.write_bytes(data)
            start_s = time.perf_counter()
            outcome = read_file(path)
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            results.send((outcome, time.perf_counter() - start_s, peak_mb))
    results.close()


def read_file(path: Path) -> str:
    """List a file and read all images and some other columns; return what came of it."""
    kinds: Counter[str] = Counter()
    rows = []
    for photo in list_photos([path]):
        if photo.error is not None:
            kinds[photo.error.partition(":")[0]] += 1
            continue
        try:
            read_listed_photo(photo, lambda _: True, max_bytes=1 << 28)
            kinds["read"] += 1
        except PhotoError as exc:
            kinds[type(exc).__name__] += 1
        if row := parse_row_path(photo.path):
            rows.append(row.row)
    if rows:
        try:
            read_other_columns(str(path), rows[::10])
        except PhotoError as exc:
            kinds[f"{type(exc).__name__} beside"] += 1
    return "+".join(sorted(kinds)) or "nothing"


def samples() -> dict[str, bytes]:
    """Files of several kinds, each with nulls and more columns."""
    images = [b"\xff\xd8\xff\xe0" + random.Random(row).randbytes(150) for row in range(ROWS)]  # noqa: S311
    values = [(row % 7 and {"bytes": image, "path": f"{row}.jpg"}) or None for row, image in enumerate(images)]
    table = pa.table(
        {
            "image": pa.array(values, IMAGE),
            "mask": pa.array([images[0]] * ROWS, pa.large_binary()),
            "caption": [f"a photo of {row}" for row in range(ROWS)],
            "tags": [["a", "b"][: row % 3] for row in range(ROWS)],
            "class": pa.array(["cat", "dog", None] * (ROWS // 3)).dictionary_encode(),
        }
    )
    table = table.replace_schema_metadata({"huggingface": '{"info": {"features": {"image": {"_type": "Image"}}}}'})
    files = {
        f"Parquet {codec}": parquet(table, compression=codec) for codec in ("none", "snappy", "zstd", "lz4", "gzip")
    }
    files["Parquet pages"] = parquet(table, data_page_version="2.0", write_page_index=True, write_page_checksum=True)
    files["Parquet delta"] = parquet(
        table.select(["mask", "caption"]), use_dictionary=False, column_encoding={"mask": "DELTA_BYTE_ARRAY"}
    )
    files |= {f"Arrow file {codec}": arrow(table, codec, stream=False) for codec in (None, "lz4", "zstd")}
    files |= {f"Arrow stream {codec}": arrow(table, codec, stream=True) for codec in (None, "zstd")}
    views = pa.table(
        {"image": pa.array(images, pa.binary_view()), "caption": pa.array(["x" * 20] * ROWS, pa.string_view())}
    )
    return files | {"Arrow views": arrow(views, None, stream=False)}


def parquet(table: pa.Table, **options: object) -> bytes:
    """A table as a Parquet file of row groups of ten rows."""
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=10, **options)
    return file.getvalue()


def arrow(table: pa.Table, codec: str | None, *, stream: bool) -> bytes:
    """A table as an Arrow file or stream of record batches of ten rows."""
    file = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=10)
    return file.getvalue()


def damage(whole: bytes, rng: random.Random) -> bytes:
    """A copy with one to four changes, mostly where the headers and the footer are."""
    data = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        start, end = rng.choice(((0, len(data)), (0, 1500), (len(data) - 3000, len(data))))
        at = min(max(0, len(data) - 1), max(0, rng.randrange(min(start, end - 1), max(1, end))))
        change(data, at, rng)
    return bytes(data[: rng.randint(1, len(data))] if data and rng.random() < 0.1 else data)


if __name__ == "__main__":
    main()
