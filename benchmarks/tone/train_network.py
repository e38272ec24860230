r"""Learn the tone network: the first time on a GPU, with further photos on any machine.

    python benchmarks/tone/train_network.py bases DATA.parquet BASES.npz --more FOLDER
    python benchmarks/tone/train_network.py pool BASES.npz POOL.pt --seed 0     # and with seeds 1 to 5, all at once
    python benchmarks/tone/train_network.py learn OUT POOL.pt ... --fold 0      # and with folds 1 to 4 and -1, at once
    python benchmarks/tone/train_network.py tune OUT POOL.pt ... --fold 0       # likewise, with photos that came later
    python benchmarks/tone/train_network.py judge OUT DATA.parquet

`bases` packs the photos and prints that pictures are made from: of build_dataset.py's file those that nothing was done
to, of FOLDER further colour photos. `pool` makes colour and toned pictures of them (`aging.py`). `learn` teaches a
large network by them, then a small one by what that says of them; with `--fold F` both without the photos and
repositories of that fold. `tune` goes on from there. `judge` writes OUT/odds.npy, what the networks say of pictures of
DATA whose photos they haven't seen, and from fold -1 curate/measures/tone_network.onnx.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import simplejpeg
import torch
from aging import Darkroom
from kornia.color import rgb_to_lab
from network import INPUTS, WIDTHS, ToneNetwork, inputs
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array
from regression import ARCHIVES, COLORFUL_M, FOLDS, fold_of
from torch import Tensor, nn
from torch.nn import functional

from curate.decode import PHOTO_SUFFIXES, decode
from curate.measures import small_copy
from curate.measures.tone import tones
from curate.measures.tone_features import GRID_COLUMNS, GRID_ROWS
from curate.measures.tone_network import loaded, log_odds

NOWHERE = -1
"""The fold of what no photo that is judged was made from; as --fold it leaves nothing out."""
BASE_SIDE_PX = 64
MORE_PHOTOS, MORE_SCORE, MORE_CHROMA = 10_000, -2.0, 6.0
"""So many photos of FOLDER, which the detector calls colour by this much, and not for want of chroma."""
POOL_PICTURES, BATCH = 220_000, 384
LOUD_SHARE, DULL_SHARE = 0.5, 0.08
"""Of the colour pictures so many are of labelled photos with M >= 20 and below it; the others of FOLDER's."""
REAL_SHARE, GRAY_SHARE, RECOLOURED_SHARE = 0.4, 0.1, 0.2
"""Of the toned pictures so many are of real prints, of gray photos and of labelled colour; the others of FOLDER's."""
LEAST_M_REAL, LEAST_M_DULL = 6.0, 8.0
STEPS, STUDENT_STEPS, TUNING_STEPS, STEP_PICTURES = 5500, 9000, 1000, 512
RATE, TUNING_RATE, DECAY = 2e-3, 5e-4, 0.03
TAUGHT = 0.8
"""The small network learns from so much of what the large one says and from the truth for the rest."""
WEIGHTS = Path(__file__).parents[2] / "curate/measures/tone_network.onnx"


def main() -> None:
    """One step of the four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("bases")
    step.add_argument("data", type=Path)
    step.add_argument("out", type=Path)
    step.add_argument("--more", type=Path, required=True)
    step = steps.add_parser("pool")
    step.add_argument("bases", type=Path)
    step.add_argument("out", type=Path)
    step.add_argument("--seed", type=int, default=0)
    step.add_argument("--pictures", type=int, default=POOL_PICTURES)
    for name in ("learn", "tune"):
        step = steps.add_parser(name)
        step.add_argument("out", type=Path)
        step.add_argument("pools", type=Path, nargs="+")
        step.add_argument("--fold", type=int, default=NOWHERE)
    step = steps.add_parser("judge")
    step.add_argument("out", type=Path)
    step.add_argument("data", type=Path)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.step == "bases":
        bases(options.data, options.more, options.out)
    elif options.step == "pool":
        pool(options.bases, options.out, options.seed, options.pictures, device)
    elif options.step == "learn":
        learn(options.out, options.pools, options.fold, device)
    elif options.step == "tune":
        tune(options.out, options.pools, options.fold, device)
    else:
        judge(options.out, options.data)


def bases(data: Path, more: Path, out: Path) -> None:
    """Pack what pictures are made of."""
    rows, packed = [], []
    for row, small in pictures(data):
        if row["kind"] in ("original", "archive", "print"):
            rows.append((row["source"], row["truth"], row["colorfulness"], row["fold"]))
            packed.append(_packed(small))
    for small in further(more):
        rows.append(("more", "color", COLORFUL_M, NOWHERE))
        packed.append(_packed(small))
    columns = dict(
        zip(("source", "truth", "colorfulness", "fold"), map(np.array, zip(*rows, strict=True)), strict=True)
    )
    np.savez(out, jpegs=np.frombuffer(b"".join(packed), np.uint8), ends=np.cumsum([0, *map(len, packed)]), **columns)
    print(len(packed), "photos")


def pictures(data: Path) -> Iterator[tuple[dict[str, Any], NDArray[np.uint8]]]:
    """Each row of build_dataset.py's file, with its fold, and its (h, w, 3) uint8 small copy."""
    for batch in pq.ParquetFile(data).iter_batches(batch_size=500):
        for row in batch.to_pylist():
            pixels = np.frombuffer(row.pop("rgb"), np.uint8)
            yield row | {"fold": fold_of(row)}, pixels.reshape(row["height_px"], row["width_px"], 3)


def further(folder: Path) -> list[NDArray[np.uint8]]:
    """MORE_PHOTOS photos that surely have colour: half of them those that the detector doubts most, half any."""
    found: list[tuple[float, NDArray[np.uint8]]] = []
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    for first in range(0, len(paths), 500):
        smalls = [small_copy(decode(path.read_bytes()).pixels)[0] for path in paths[first : first + 500]]
        for small, said in zip(smalls, tones(smalls), strict=True):
            if said.tone == "color" and said.tone_score < MORE_SCORE and said.tone_chroma > MORE_CHROMA:
                found.append((said.tone_score, small))
    found.sort(key=lambda each: -each[0])
    doubted, others = found[: MORE_PHOTOS // 2], found[MORE_PHOTOS // 2 :]
    drawn = np.random.default_rng(0).permutation(len(others))[: MORE_PHOTOS // 2]
    return [small for _, small in doubted] + [others[place][1] for place in drawn]


def _packed(small: NDArray[np.uint8]) -> bytes:
    square = cv2.resize(small, (BASE_SIDE_PX, BASE_SIDE_PX), interpolation=cv2.INTER_AREA)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(square), quality=90, colorsubsampling="444")


@dataclass(frozen=True, slots=True)
class Bases:
    """Photos to make pictures of, on one device."""

    photos: Tensor
    """(n, 3, BASE_SIDE_PX, BASE_SIDE_PX) uint8 sRGB."""
    folds: Tensor
    """(n,) int8."""
    kinds: Mapping[str, Tensor]
    """Places of the loud, dull, real (toned prints of the archives), prints (of the one archive), gray and more."""

    @classmethod
    def read(cls, path: Path, device: torch.device) -> Bases:
        """Those that `bases` packed."""
        packed = np.load(path)
        jpegs, ends = packed["jpegs"].tobytes(), packed["ends"].tolist()
        photos = [simplejpeg.decode_jpeg(jpegs[one:other]) for one, other in itertools.pairwise(ends)]
        source, truth, colorful = packed["source"], packed["truth"], packed["colorfulness"]
        own = (source != "more") & (truth == "color")
        kinds = {
            "loud": own & (colorful >= COLORFUL_M),
            "dull": own & (colorful >= LEAST_M_DULL) & (colorful < COLORFUL_M),
            "real": (source == ARCHIVES) & (truth == "toned") & (colorful >= LEAST_M_REAL),
            "prints": source == "prints",
            "gray": truth == "grayscale",
            "more": source == "more",
        }
        return cls(
            torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous().to(device),
            torch.from_numpy(packed["fold"].astype(np.int8)).to(device),
            {kind: torch.from_numpy(np.flatnonzero(which)).to(device) for kind, which in kinds.items()},
        )

    def draw(self, counts: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """(n, 3, h, w) rgb 0..1 and their folds."""
        places = []
        for kind, count in counts.items():
            among = self.kinds[kind]
            places.append(among[torch.randint(len(among), (count,), device=among.device)])
        chosen = torch.cat(places)
        return self.photos[chosen].float() / 255, self.folds[chosen]


@torch.no_grad()
def pool(source: Path, out: Path, seed: int, count: int, device: torch.device) -> None:
    """Make pictures; `out` gets x (n, 3, 32, 40) uint8 sRGB, toned (n,), weight (n,) and fold (n,)."""
    torch.manual_seed(1000 + seed)
    found, room = Bases.read(source, device), Darkroom(device)
    batches = [_batch(found, room, BATCH // 2) for _ in range(count // BATCH)]
    x, toned, weight, fold = (torch.cat(column).cpu() for column in zip(*batches, strict=True))
    torch.save({"x": x, "toned": toned, "weight": weight, "fold": fold}, out)
    print(len(x), "pictures")


def _batch(found: Bases, room: Darkroom, half: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    other = rgb_to_lab(room.cut(found.draw({"more": half})[0], 0.55))
    colour, colour_fold = _coloured(found, room, half)
    colour = room.captioned(room.mounted(colour, 0.12), other, 0.06)
    toned, toned_fold = _toned(found, room, half)
    toned = room.captioned(room.mounted(toned, 0.25), other, 0.12)
    x = room.scanned(torch.cat([colour, toned]))
    chroma = rgb_to_lab(x)[:, 1:].square().sum(1).mean((1, 2)).sqrt()
    weight = ((chroma - 3) / 7).clamp(0.05, 1)  # what is nearly gray says little
    truth = torch.cat([torch.zeros(half), torch.ones(half)])
    return (x * 255).round().byte().cpu(), truth, weight.cpu(), torch.cat([colour_fold, toned_fold]).cpu()


def _coloured(found: Bases, room: Darkroom, half: int) -> tuple[Tensor, Tensor]:
    counts = {"loud": int(half * LOUD_SHARE), "dull": int(half * DULL_SHARE)}
    rgb, fold = found.draw(counts | {"more": half - sum(counts.values())})
    rgb = room.cut(rgb, 0.55)
    as_it_is = torch.rand(half, 1, 1, 1, device=rgb.device) < 0.4
    lab = torch.where(as_it_is, rgb_to_lab(rgb), room.lit(rgb))
    return room.vignetted(room.stained(room.aged(lab, 0.2), 0.04), 0.06), fold


def _toned(found: Bases, room: Darkroom, half: int) -> tuple[Tensor, Tensor]:
    real = int(half * REAL_SHARE)
    prints, print_fold = found.draw({"real": real - real // 4, "prints": real // 4})
    lab = rgb_to_lab(room.cut(prints, 0.7))
    as_it_is = torch.rand(real, 1, 1, 1, device=lab.device) < 0.35
    lab = torch.where(as_it_is, lab, room.turned(lab, 0.5, -0.5, 0.9))
    counts = {"gray": int(half * GRAY_SHARE), "loud": int(half * RECOLOURED_SHARE)}
    photos, photo_fold = found.draw(counts | {"more": half - real - sum(counts.values())})
    made = room.toned(room.cut(photos, 0.55))
    lab = torch.cat([room.aged(lab, 0.25), room.aged(made, 0.5)])
    return room.vignetted(room.stained(lab, 0.2), 0.15), torch.cat([print_fold, photo_fold])


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures to learn from."""

    x: Tensor
    """(n, 3, 32, 40) uint8 sRGB."""
    says: Tensor
    """(n,) probability of toned, that is to be learned."""
    weight: Tensor

    @classmethod
    def read(cls, pools: Sequence[Path], fold: int, device: torch.device) -> Lesson:
        """All pictures of no photo of `fold`."""
        parts = [torch.load(path) for path in pools]
        keep = torch.cat([part["fold"] for part in parts])
        keep = torch.ones_like(keep, dtype=torch.bool) if fold == NOWHERE else keep != fold
        return cls(*(torch.cat([part[name] for part in parts])[keep].to(device) for name in ("x", "toned", "weight")))

    def inputs(self, places: Tensor | slice) -> Tensor:
        """What a network reads."""
        read = inputs(rgb_to_lab(self.x[places].float() / 255))
        return read.contiguous(memory_format=torch.channels_last)


def learn(out: Path, pools: Sequence[Path], fold: int, device: torch.device) -> None:
    """Teach the large network, then the small one; OUT gets `large{fold}.pt` and `small{fold}.pt`, float16."""
    torch.manual_seed(fold)
    torch.backends.cudnn.benchmark = True
    out.mkdir(parents=True, exist_ok=True)
    lesson = Lesson.read(pools, fold, device)
    large = fitted(ToneNetwork(teacher=True).to(device), lesson, STEPS, RATE)
    _save(large, out / f"large{fold}.pt")
    said = TAUGHT * _probabilities(large, lesson) + (1 - TAUGHT) * lesson.says
    small = fitted(ToneNetwork().to(device), replace(lesson, says=said), STUDENT_STEPS, RATE)
    _save(small, out / f"small{fold}.pt")


def tune(out: Path, pools: Sequence[Path], fold: int, device: torch.device) -> None:
    """Go on with OUT's `small{fold}.pt`, from the truth alone."""
    torch.manual_seed(100 + fold)
    small = ToneNetwork()
    small.load_state_dict(torch.load(out / f"small{fold}.pt", map_location="cpu"))
    lesson = Lesson.read(pools, fold, device)
    _save(fitted(small.float().to(device), lesson, TUNING_STEPS, TUNING_RATE), out / f"small{fold}.pt")


def fitted(network: ToneNetwork, lesson: Lesson, steps: int, rate: float) -> ToneNetwork:
    """AdamW, one cosine, and the mean of the second half's weights, the newer counting more."""
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=DECAY)
    mean: dict[str, Tensor] = {}
    began, device = time.monotonic(), lesson.x.device
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(step / 300, 0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-6
        places = torch.randint(len(lesson.x), (STEP_PICTURES,), device=device)
        with torch.no_grad():
            read = lesson.inputs(places)
        with torch.autocast(device.type, torch.bfloat16):
            odds = network(read)
        loss = functional.binary_cross_entropy_with_logits(odds.float(), lesson.says[places], lesson.weight[places])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step == steps // 2:
            mean = {name: value.clone() for name, value in network.state_dict().items()}
        elif step > steps // 2 and step % 10 == 0:
            for name, value in network.state_dict().items():
                mean[name] = value.clone() if not value.is_floating_point() else mean[name].lerp(value, 0.02)
        if step % 1000 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.4f}, {time.monotonic() - began:.0f} s", flush=True)
    network.load_state_dict(mean)
    return network.eval()


@torch.no_grad()
def _probabilities(network: ToneNetwork, lesson: Lesson) -> Tensor:
    """(n,) of a picture and its mirror image."""
    said = []
    for first in range(0, len(lesson.x), 2048):
        read = lesson.inputs(slice(first, first + 2048))
        with torch.autocast(read.device.type, torch.bfloat16):
            said.append(torch.sigmoid((network(read).float() + network(read.flip(3)).float()) / 2))
    return torch.cat(said)


def _save(network: ToneNetwork, path: Path) -> None:
    torch.save({name: value.half() for name, value in network.state_dict().items()}, path)


def judge(out: Path, data: Path) -> None:
    """Write the shipped network, and (n,) float32 log odds by those that haven't seen a picture's photo."""
    unseen = [loaded(as_onnx(out / f"small{fold}.pt")) for fold in range(FOLDS)]
    odds = [log_odds(small, unseen[row["fold"]]) for row, small in pictures(data)]
    np.save(out / "odds.npy", np.array(odds, np.float32))
    WEIGHTS.write_bytes(as_onnx(out / f"small{NOWHERE}.pt"))
    print(len(odds), "pictures")


def as_onnx(path: Path) -> bytes:
    """A small network as an ONNX file that old OpenCVs read too, its normalisation folded into the weights."""
    values = {name: value.double().numpy() for name, value in torch.load(path, map_location="cpu").items()}
    nodes, tensors, came = [], [], "cells"
    for place, (_, stride) in enumerate(WIDTHS):
        norm = f"body.{place}.1."
        scale = values[norm + "weight"] / np.sqrt(values[norm + "running_var"] + nn.BatchNorm2d(1).eps)
        weights = values[f"body.{place}.0.weight"] * scale[:, None, None, None]
        names = [f"weights{place}", f"bias{place}"]
        tensors += _tensors(names, [weights, values[norm + "bias"] - values[norm + "running_mean"] * scale])
        node = make_node("Conv", [came, *names], [f"sum{place}"], strides=[stride] * 2, pads=[1] * 4)
        nodes += [node, make_node("Relu", [f"sum{place}"], [came := f"found{place}"])]
    nodes += [make_node(f"Global{kind}Pool", [came], [kind]) for kind in ("Average", "Max")]
    nodes += [make_node("Concat", ["Average", "Max"], ["both"], axis=1), make_node("Flatten", ["both"], ["flat"])]
    for place, came, goes in ((0, "flat", "hidden"), (3, "seen", "odds")):
        names = [f"head{place}.weight", f"head{place}.bias"]
        tensors += _tensors(names, [values[f"head.{place}.weight"], values[f"head.{place}.bias"]])
        nodes.append(make_node("Gemm", [came, *names], [goes], transB=1))
        nodes += [make_node("Relu", ["hidden"], ["seen"])] if goes == "hidden" else []
    ends = [("cells", [1, INPUTS, GRID_ROWS, GRID_COLUMNS]), ("odds", [1, 1])]
    took, gave = ([make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in ends)
    graph = make_graph(nodes, "tone", took, gave, tensors)
    return make_model(graph, opset_imports=[make_opsetid("", 11)], ir_version=7).SerializeToString()


def _tensors(names: Sequence[str], values: Sequence[NDArray[np.float64]]) -> list[TensorProto]:
    return [from_array(value.astype(np.float32), name) for name, value in zip(names, values, strict=True)]


if __name__ == "__main__":
    main()
