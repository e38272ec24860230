"""Use every name of the Python API once: scan, filter, pack, train, colorize. Writes into the current folder.

mkdir try && cp -r YOUR_PHOTOS try/photos && cd try && python ../examples/python_api.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import curate
import train

# Photos to manifests. The scan uses worker processes; a script needs no `if __name__ == "__main__"` for that.
options = curate.ScanOptions(workers=2)
scan = curate.scan_photos("photos", "scan.parquet", options=options, progress=lambda done, total: None)
print("scan:", scan.photos, "photos", dict(scan.tones))
rules: curate.FilterOptions = curate.filter_manifest("scan.parquet", Path("clean.parquet"), split="60/20/20").options
lineage: curate.Lineage | None = curate.inspect_manifest("clean.parquet").lineage
print("made by:", lineage and lineage.command)
print(curate.read_manifest("clean.parquet", columns=["path", "colorfulness"]).table.to_pandas())
for number in (1, 2):
    curate.scan_photos(["photos"], f"part-{number}.parquet", shard=f"{number}/2")
print("merged:", curate.merge_manifests(["part-1.parquet", "part-2.parquet"], "merged.parquet").rows, "photos")
print("packed:", curate.pack_photos("clean.parquet", "pack", options=curate.PackOptions(size_px=32)).photos, "photos")
print("copied:", curate.export_photos("clean.parquet", "copies", "copy").photos, "photos")
print("report:", curate.write_report("scan.parquet").out)

# One photo.
first = min(Path("photos").iterdir())
measures: curate.Measures = curate.measure(first)
print(first, measures.colorfulness, curate.colorfulness(curate.decode(first)))
print("rejected because:", curate.explain_photo(first, options=rules).reasons)
try:
    curate.measure(b"")
except curate.PhotoError as error:  # a curate.VividsetError, as all errors of vividset
    print(isinstance(error, curate.VividsetError), error)

# Training, with settings for a quick try.
recipe = train.Recipe(image_size=32, channels=2, batch_size=2, max_steps=2)
result = train.fit("clean.parquet", run_dir="run", recipe=recipe, device="cpu")
print("healthy:", result.healthy, train.diagnose("run").verdict)
print("training photos:", len(train.load_datasets("clean.parquet").train))
print(
    "all photos:", train.evaluate("run", "clean.parquet", split="all").summary["network"].loss_to_neutral, "of neutral"
)
print("copies with themselves:", train.compare("copies", "copies").summary["pictures"].loss_to_neutral, "of neutral")
network: train.ColorUNet = train.load_checkpoint("run").network()
loss = train.ColorizationWeightedLoss()
print(sum(weight.numel() for weight in network.parameters()), "weights;", loss.saturated_weight, "for saturated colors")
picture: Image.Image = train.Colorizer.load("run").colorize(first)
picture.save("colored.png")
try:
    print("ONNX differs by", train.export_onnx("run", "colorizer.onnx"))
except curate.VividsetError as error:  # the libraries are not installed
    print(error)
print("vividset", curate.__version__, "done")
