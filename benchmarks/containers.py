"""List containers of photos, and show time and memory beside the library that made them.

    python benchmarks/containers.py [--containers 10 100 1000] [--members 1000] [--huge 1000000] [--kinds zip tar]

For each kind, a container is made in a temporary folder, with hard links to it as the other containers. One member in
ten is a JPEG of 8 x 8 pixels; the others are empty files with a photo's name. They are listed as a scan lists them, and
by `zipfile`, `tarfile` or pyarrow, in turns, each in a process of its own; a compressed tar is read to its end, of
Parquet files pyarrow reads the column of names. Prints seconds of CPU time, the ratio of the medians, and the peak
memory (RSS) of the listing process above that of a process that lists nothing. With `--scan`, also the peak memory of a
scan and of its largest worker, and its seconds.
`--huge` is one ZIP and one tar with that many members.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

KINDS = ("zip", "tar", "tar.gz", "tar.zst", "parquet")
ROUNDS = 3
PHOTO_EVERY = 10
PEAK = """
def peak_mb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
"""
LIST = {
    "curate": """
from curate.sources import list_photos
from curate.sources.tar.stream import TarStream
import pyarrow.compute
def listing(folder):
    for photo in list_photos([folder]):
        if photo.is_stream:
            yield from (member for member, _ in TarStream(photo).members(lambda _, __: False, max_bytes=1))
        else:
            yield photo
""",
    "library": """
import zipfile, tarfile
from pathlib import Path
import pyarrow.compute, pyarrow.parquet
def open_tar(path):
    if path.suffix == ".zst":
        return tarfile.open(fileobj=pyarrow.CompressedInputStream(str(path), "zstd"), mode="r|")
    return tarfile.open(path, "r|gz" if path.suffix == ".gz" else "r:")
def listing(folder):
    for path in sorted(Path(folder).iterdir()):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield from archive.infolist()
        elif path.suffix == ".parquet":
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(columns=["image.path"]):
                yield from batch.column(0).field("path").to_pylist()
        else:
            with open_tar(path) as tar:
                for member in tar:
                    yield member
                    tar.members = []
""",
}
MEASURE = """
import json, sys, time
if sys.argv[1] == "none":
    print(json.dumps([0, 0, peak_mb()]))
    sys.exit()
start = time.process_time()
count = sum(1 for _ in listing(sys.argv[1]))
print(json.dumps([count, time.process_time() - start, peak_mb()]))
"""
SCAN = """
import json, os, sys, threading, time
from multiprocessing import forkserver
from pathlib import Path
from curate.scanning.scan import ScanOptions, scan_photos
worker_peaks = [0]
def watch():
    while True:
        server = forkserver._forkserver._forkserver_pid
        try:
            for process in Path(f"/proc/{server}/task/{server}/children").read_text().split():
                lines = open(f"/proc/{process}/status")
                worker_peaks.append(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024)
        except (OSError, StopIteration):
            pass
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
start = time.monotonic()
summary = scan_photos([sys.argv[1]], Path(sys.argv[2]), ScanOptions(workers=2))
print(json.dumps([peak_mb(), max(worker_peaks), time.monotonic() - start, summary.photos]))
"""


def main() -> None:
    """Print a line for each kind and number of containers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--containers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--members", type=int, default=1000, help="members of each container")
    parser.add_argument("--huge", type=int, default=0, help="members of one large ZIP and one large tar")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--scan", action="store_true", help="also scan, which takes several times as long")
    options = parser.parse_args()
    columns = ["kind", "containers", "members", "curate, s", "library, s", "ratio", "curate, MB", "library, MB"]
    columns += ["scan, MB", "worker, MB", "scan, s"] if options.scan else []
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for kind in options.kinds:
        for count in options.containers:
            compare(kind, count, options.members, options.rounds, scan=options.scan)
    for kind in ("zip", "tar") if options.huge else ():
        compare(kind, 1, options.huge, 1, scan=options.scan)


def compare(kind: str, containers: int, members: int, rounds: int, *, scan: bool) -> None:
    """Make containers, list them with both, and print one line."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "in")
        folder.mkdir()
        write(first := folder / f"{0:05}.{kind}", members)
        for number in range(1, containers):
            os.link(first, folder / f"{number:05}.{kind}")
        seconds: dict[str, list[float]] = {name: [] for name in LIST}
        peaks: dict[str, float] = {}
        for _ in range(rounds):
            for name, code in LIST.items():
                found, took, peak = run(PEAK + code + MEASURE, folder)
                assert found == containers * members, (kind, name, found)  # noqa: S101
                seconds[name].append(took)
                peaks[name] = max(peak, peaks.get(name, 0))
        for name, code in LIST.items():
            peaks[name] -= run(PEAK + code + MEASURE, "none")[2]
        ours, theirs = (statistics.median(seconds[name]) for name in ("curate", "library"))
        values = [kind, f"{containers:,}", f"{members:,}", f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}"]
        values += [f"{peaks['curate']:.0f}", f"{peaks['library']:.0f}"]
        if scan:
            *measured, photos = run(PEAK + SCAN, folder, Path(scratch, "m.parquet"))
            assert photos == containers * members  # noqa: S101
            values += [f"{value:.0f}" for value in measured]
        print(f"| {' | '.join(values)} |", flush=True)


def run(code: str, *arguments: object) -> list[float]:
    """Run Python code in a process of its own and return the numbers that it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    numbers: list[float] = json.loads(done.stdout)
    return numbers


def write(path: Path, members: int) -> None:
    """Write a container."""
    photo = tiny_jpeg()
    files = ((f"photos/photo-{member:07}.jpg", b"" if member % PHOTO_EVERY else photo) for member in range(members))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files:
                archive.writestr(zipfile.ZipInfo(name), data)
    elif path.suffix == ".parquet":
        write_parquet(path, files)
    elif path.suffix == ".zst":
        import pyarrow as pa

        with pa.CompressedOutputStream(str(path), "zstd") as out, tarfile.open(fileobj=out, mode="w|") as tar:
            add_all(tar, files)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
            add_all(tar, files)


def tiny_jpeg() -> bytes:
    """A JPEG of 8 x 8 pixels, some 300 bytes."""
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").resize((8, 8)).save(file, "JPEG")
    return file.getvalue()


def write_parquet(path: Path, files: Iterator[tuple[str, bytes]]) -> None:
    """Write row groups of 100 images, as `datasets` does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    with pq.ParquetWriter(path, pa.schema([("image", kind)])) as out:
        while group := [{"bytes": data, "path": name} for name, data in itertools.islice(files, 100)]:
            out.write_table(pa.table({"image": pa.array(group, kind)}))


def add_all(tar: tarfile.TarFile, files: Iterator[tuple[str, bytes]]) -> None:
    """Add files to a tar."""
    for name, data in files:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
        tar.members = []  # type: ignore[attr-defined]  # or tarfile keeps every member in memory


if __name__ == "__main__":
    main()
