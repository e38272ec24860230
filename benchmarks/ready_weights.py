"""Convert a run's best weights into the ready weights of the package, and check them on photos that are new to them.

    python benchmarks/ready_weights.py convert RUN [--strength 1.4]
    python benchmarks/ready_weights.py check ready HELD_OUT.parquet --trained-on SCAN.parquet [--plates FOLDER]

`convert` writes train/ready_weights/ready.safetensors: the averaged weights, where the run has them, in float16 with
BatchNorm's statistics in float32, without the optimizer and without paths of this machine. MODEL_CARD.md beside it gets
how they were trained; what is written there by hand stays.

`check` evaluates weights on the photos of a manifest of `curate filter`, without those that have the sha256 of a photo
in the manifests of --trained-on, or a near fingerprint (at most 11 of 128 bits, mirrored or not). --trained-on is a
scan of all photos that the weights, and the checkpoints before them, were trained on. --plates is a folder as for
benchmarks/plates.py. It prints whether the weights are good enough to ship, and writes the numbers into the model card
of the checked file.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from plates import compare_plates

import train
from curate import manifest
from curate.files import sha256_of, write_atomic
from curate.manifest import Lineage
from curate.measures.hash_groups import NEAR_BITS, hamming_distances
from train import checkpoint
from train.checkpoint import Checkpoint, CheckpointMetadata, Parent
from train.checkpoint_file import READY_FILE
from train.evaluation.evaluator import EvaluationResult
from train.inference.colorizer import Colorizer

MAX_BYTES = 12_000_000
MAX_LOSS, MIN_COLORFULNESS, AUTO_RANGE, MAX_TONED = 0.75, 0.5, (0.9, 1.1), 0.05
"""Largest loss ÷ neutral; smallest share of the originals' colorfulness at strength 1, its range at `auto`; largest
share of predictions that are gray, sepia or toned, at strength 1."""
CARD = """# Ready weights

Weights of a colorizer that come with vividset: `train colorize ready PHOTO -o FOLDER`.

## Training

<!-- training -->
<!-- end of training -->

## Data and license

(Which photos, from where, under which licenses.)

## Numbers

<!-- numbers -->
<!-- end of numbers -->

## Limits

(What these weights can't do.)
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    convert_parser = commands.add_parser("convert", help="make the ready weights of a run")
    convert_parser.add_argument("run", type=Path)
    convert_parser.add_argument("-o", "--out", type=Path, default=READY_FILE)
    convert_parser.add_argument("--strength", type=float, help="the automatic strength  [default: the checkpoint's]")
    check_parser = commands.add_parser("check", help="check weights on photos that they were not trained on")
    check_parser.add_argument("checkpoint")
    check_parser.add_argument("held_out", type=Path)
    check_parser.add_argument("--trained-on", type=Path, nargs="+", required=True)
    check_parser.add_argument("--split", default="all")
    check_parser.add_argument("--image-size", type=int)
    check_parser.add_argument("--root", type=Path, nargs="*", default=())
    check_parser.add_argument("--plates", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.command == "convert":
        convert(options.run, options.out, options.strength)
    else:
        sys.exit(not check(options))


def convert(run: Path, out: Path, strength: float | None = None) -> None:
    """Write the ready weights of a run, and how they were trained into the model card beside them."""
    source = checkpoint.load(run, weights_only=True)
    network = source.network()
    tensors = {
        f"model/{name}": tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in network.state_dict().items()
    }
    automatic = source.metadata.auto_strength if strength is None else strength
    if automatic is None:
        sys.exit("this checkpoint has no automatic strength: give the one that `train evaluate` prints as --strength")
    metadata = replace(
        _without_paths(source.metadata), auto_strength=automatic, schedule={}, averaged_steps=0, threads=0
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(out, tensors, metadata)
    ready = checkpoint.load(out)
    if not all(bool(tensor.isfinite().all()) for tensor in ready.tensors.values()):
        sys.exit(f"{out}: a weight is too large for float16")
    difference = _largest_difference(network, ready)
    size = out.stat().st_size
    facts = _training_facts(metadata, size, sum(p.numel() for p in network.parameters()), difference)
    fill_card(out.with_name("MODEL_CARD.md"), "training", facts)
    print(
        f"written: {out}, {size / 1e6:.1f} MB, a* and b* differ by at most {difference:.2f} from those of {source.path}"
    )
    if size > MAX_BYTES:
        sys.exit(f"{out} is larger than {MAX_BYTES / 1e6:.0f} MB: train with fewer --channels")


def _without_paths(metadata: CheckpointMetadata) -> CheckpointMetadata:
    """Return the metadata with the names of files instead of their paths."""
    return replace(
        metadata,
        manifest_path=Path(metadata.manifest_path).name,
        command=_command_without_paths(metadata.command),
        manifest_ancestors=[{**entry, "path": Path(entry["path"]).name} for entry in metadata.manifest_ancestors],
        parent=_parent_without_paths(metadata.parent),
    )


def _parent_without_paths(parent: Parent | None) -> Parent | None:
    if parent is None:
        return None
    return replace(
        parent,
        path="/".join(Path(parent.path).parts[-2:]),
        manifest_path=Path(parent.manifest_path).name,
        command=_command_without_paths(parent.command),
        manifest_ancestors=[{**entry, "path": Path(entry["path"]).name} for entry in parent.manifest_ancestors],
        parent=_parent_without_paths(parent.parent),
    )


def _command_without_paths(command: str) -> str:
    """Return a command line with the names of files and folders instead of absolute paths."""
    return re.sub(r"(^|[\s='\"])/(?:[^\s/'\"]+/)*", r"\1", command)


@torch.no_grad()
def _largest_difference(network: torch.nn.Module, ready: Checkpoint) -> float:
    """Return the largest difference of a* or b* that float16 makes, on noise and on gradients."""
    noise = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gradients = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    lightness = torch.cat([noise, gradients, gradients.mT])
    return 50 * float((network(lightness) - ready.network()(lightness)).abs().max())


def _training_facts(metadata: CheckpointMetadata, size: int, parameters: int, difference: float) -> list[str]:
    network = f"{metadata.model}, {metadata.recipe.channels} channels, {parameters / 1e6:.1f} M parameters"
    precision = f"a* and b* differ by at most {difference:.2f} from those of the float32 weights"
    facts = [
        f"- Network: {network}; float16, {size / 1e6:.1f} MB; {precision}.",
        f"- Weights of step {metadata.step:,}, automatic strength {metadata.auto_strength:g}.",
    ]
    ancestor: CheckpointMetadata | Parent | None = metadata
    while ancestor:
        command = _command_without_paths(ancestor.command)
        facts.append(f"- `{command}`, on {ancestor.manifest_path} (sha256 {ancestor.manifest_sha256}).")
        ancestor = ancestor.parent
    return facts


def fill_card(card: Path, section: str, lines: Sequence[str]) -> None:
    """Replace the generated lines of a section of a model card; a missing card is made from the template."""
    text = card.read_text(encoding="utf-8") if card.exists() else CARD
    start, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    if start not in text:
        sys.exit(f"{card} has no line {start.strip()}")
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    write_atomic(f"{before}{start}{''.join(line + chr(10) for line in lines)}{end}{after}".encode(), card)


def check(options: argparse.Namespace) -> bool:
    """Print the numbers and whether they are good enough; return whether all are."""
    source = train.load_checkpoint(options.checkpoint)
    size_px = options.image_size or source.metadata.recipe.image_size
    with tempfile.TemporaryDirectory() as scratch:
        held_out = Path(scratch) / "held-out.parquet"
        removed = remove_training_photos(options.held_out, options.trained_on, options.split, held_out)
        results = [
            train.evaluate(
                options.checkpoint, held_out, split="all", image_size=size_px, roots=options.root, strength=strength
            )
            for strength in (1.0, "auto")
        ]
    network, automatic = (result.summary["network"] for result in results)
    toned = 1 - network.tones.get("color", 0) / results[0].protocol.photos
    limits = [
        ("loss ÷ neutral loss", network.loss_to_neutral, f"at most {MAX_LOSS}", network.loss_to_neutral <= MAX_LOSS),
        (
            "colorfulness of the originals', strength 1",
            network.colorfulness_share,
            f"at least {MIN_COLORFULNESS}",
            network.colorfulness_share >= MIN_COLORFULNESS,
        ),
        (
            f"the same, strength auto ({results[1].protocol.strength:g})",
            automatic.colorfulness_share,
            f"{AUTO_RANGE[0]} to {AUTO_RANGE[1]}",
            AUTO_RANGE[0] <= automatic.colorfulness_share <= AUTO_RANGE[1],
        ),
        ("pictures that are gray, sepia or toned", toned, f"below {MAX_TONED}", toned < MAX_TONED),
    ]
    if options.plates:
        compared = compare_plates(Colorizer(source), options.plates, "green")
        ratio = compared.summary["pictures"].loss_to_neutral
        name = f"loss ÷ neutral loss on {compared.protocol.photos} plates of about 1910 (green)"
        limits.append((name, ratio, "below 1", ratio < 1))
    photos = f"{results[0].protocol.photos:,} photos of {options.held_out.name}"
    lines = [
        f"{photos} (sha256 {sha256_of(options.held_out)[:12]}) at {size_px} px;",
        f"{removed:,} others were left out, because the weights were trained on them or on near-duplicates.",
        "",
        *_table(limits, results),
    ]
    print("\n".join(lines))
    card = source.path.with_name("MODEL_CARD.md")
    if card.exists():
        fill_card(card, "numbers", lines)
    return all(passed for *_, passed in limits)


def _table(limits: Sequence[tuple[str, float, str, bool]], results: Sequence[EvaluationResult]) -> list[str]:
    rows = [
        f"| {name} | {value:.3f} | {wanted} | {'yes' if passed else 'NO'} |" for name, value, wanted, passed in limits
    ]
    network, automatic = (result.summary["network"] for result in results)
    mean_color = results[0].summary["mean color"]
    rows += [
        f"| loss ÷ neutral loss, strength auto | {automatic.loss_to_neutral:.3f} | | |",
        f"| loss ÷ neutral loss of the best single color | {mean_color.loss_to_neutral:.3f} | | |",
        f"| hue entropy in bits | {network.hue.entropy_bits:.2f} | | |",
        f"| share of the chroma in warm hues | {network.hue.warm:.3f} | | |",
        f"| PSNR in dB | {network.psnr_db:.2f} | | |",
    ]
    return ["| measure | value | wanted | reached |", "|---|---|---|---|", *rows]


def remove_training_photos(held_out: Path, trained_on: Sequence[Path], split: str, out: Path) -> int:
    """Write the rows of a manifest without photos that are in others, or near to one; return how many were left out."""
    read = manifest.read_manifest(held_out)
    table = read.table
    if split != "all":
        table = table.filter(np.array(table["split"].to_pylist()) == split)
    known = [manifest.read_manifest(path, columns=("sha256", "fingerprint")).table for path in trained_on]
    hashes = {value for part in known for value in part["sha256"].to_pylist()}
    known_words = _words([value for part in known for value in part["fingerprint"].to_pylist()])
    kept = []
    for sha256, fingerprint in zip(table["sha256"].to_pylist(), table["fingerprint"].to_pylist(), strict=True):
        near = bool(fingerprint) and bool((hamming_distances(_words([fingerprint]), known_words) <= NEAR_BITS).any())
        kept.append(sha256 not in hashes and not near)
    rows = table.filter(pa.array(kept))
    if not rows.num_rows:
        sys.exit("the weights were trained on all of these photos")
    manifest.write_manifest(out, rows, Lineage("clean", "benchmarks/ready_weights.py", {}))
    left_out: int = table.num_rows - rows.num_rows
    return left_out


def _words(fingerprints: Sequence[str | None]) -> NDArray[np.uint64]:
    """Return (n, 2) uint64 for fingerprints as 32 hex digits; missing ones are left out."""
    data = bytes.fromhex("".join(filter(None, fingerprints)))
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2)


if __name__ == "__main__":
    main()
