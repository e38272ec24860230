r"""Train the tone network, on a GPU.

    python benchmarks/tone/train_network.py bases DATA.parquet BASES.npz --more FOLDER
    python benchmarks/tone/train_network.py pool BASES.npz POOL.pt --seed 0     # and with seeds 1 to 5, all at once
    python benchmarks/tone/train_network.py learn OUT POOL.pt ... --fold 0      # and with folds 1 to 4 and -1, at once
    python benchmarks/tone/train_network.py judge OUT DATA.parquet

`bases` packs the photos and prints that pictures are made from: the unchanged ones of build_dataset.py's file, and
more colour photos from FOLDER. `pool` makes colour and toned pictures of them (`aging.py`). `learn` teaches a
large network by them, then a small one by what that says of them; with `--fold F` both without the photos and
repositories of that fold. `judge` writes OUT/odds.npy, what the networks say of pictures of DATA whose photos they
haven't seen, and from fold -1 curate/measures/tone/network.onnx.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from kornia.color import rgb_to_lab
from network import INPUTS, WIDTHS, NetworkSize, inputs
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array
from pools import NO_FOLD, POOL_PICTURES, bases, pool
from regression import FOLDS, batches
from torch import Tensor, nn
from torch.nn import functional

from curate.measures.onnx import load_network
from curate.measures.tone.features import GRID_COLUMNS, GRID_ROWS, make_grids
from curate.measures.tone.network import network_log_odds

STEPS, STUDENT_STEPS, STEP_PICTURES = 5500, 9000, 512
RATE, DECAY = 2e-3, 0.03
TAUGHT = 0.8
"""Weight of the large network's probabilities in the small network's targets; the rest is the truth."""
WEIGHTS = Path(__file__).parents[2] / "curate/measures/tone/network.onnx"


def main() -> None:
    """Run one of the four steps."""
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
    step = steps.add_parser("learn")
    step.add_argument("out", type=Path)
    step.add_argument("pools", type=Path, nargs="+")
    step.add_argument("--fold", type=int, default=NO_FOLD)
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
    else:
        judge(options.out, options.data)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Pictures to train on."""

    x: Tensor
    """(n, 3, 32, 40) uint8 sRGB."""
    targets: Tensor
    """(n,) probability of toned: the target."""
    weight: Tensor

    @classmethod
    def read(cls, pools: Sequence[Path], fold: int, device: torch.device) -> TrainingSet:
        """Read all pictures that are not made from a photo of `fold`."""
        parts = [torch.load(path) for path in pools]
        keep = torch.cat([part["fold"] for part in parts])
        keep = torch.ones_like(keep, dtype=torch.bool) if fold == NO_FOLD else keep != fold
        return cls(*(torch.cat([part[name] for part in parts])[keep].to(device) for name in ("x", "toned", "weight")))

    def inputs(self, places: Tensor | slice) -> Tensor:
        """The network inputs of some pictures."""
        read = inputs(rgb_to_lab(self.x[places].float() / 255))
        return read.contiguous(memory_format=torch.channels_last)


def learn(out: Path, pools: Sequence[Path], fold: int, device: torch.device) -> None:
    """Train the large network, then the small one; write `large{fold}.pt` and `small{fold}.pt`, float16."""
    torch.manual_seed(fold)
    torch.backends.cudnn.benchmark = True
    out.mkdir(parents=True, exist_ok=True)
    training_set = TrainingSet.read(pools, fold, device)
    large = train(NetworkSize(teacher=True).to(device), training_set, STEPS)
    _save(large, out / f"large{fold}.pt")
    said = TAUGHT * _probabilities(large, training_set) + (1 - TAUGHT) * training_set.targets
    small = train(NetworkSize().to(device), replace(training_set, targets=said), STUDENT_STEPS)
    _save(small, out / f"small{fold}.pt")


def train(network: NetworkSize, training_set: TrainingSet, steps: int) -> NetworkSize:
    """Train with AdamW and one cosine; return the moving average of the weights of the second half."""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    mean: dict[str, Tensor] = {}
    began, device = time.monotonic(), training_set.x.device
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(step / 300, 0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-6
        places = torch.randint(len(training_set.x), (STEP_PICTURES,), device=device)
        with torch.no_grad():
            read = training_set.inputs(places)
        with torch.autocast(device.type, torch.bfloat16):
            odds = network(read)
        loss = functional.binary_cross_entropy_with_logits(
            odds.float(), training_set.targets[places], training_set.weight[places]
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
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
def _probabilities(network: NetworkSize, training_set: TrainingSet) -> Tensor:
    """(n,) of a picture and its mirror image."""
    said = []
    for first in range(0, len(training_set.x), 2048):
        read = training_set.inputs(slice(first, first + 2048))
        with torch.autocast(read.device.type, torch.bfloat16):
            said.append(torch.sigmoid((network(read).float() + network(read.flip(3)).float()) / 2))
    return torch.cat(said)


def _save(network: NetworkSize, path: Path) -> None:
    torch.save({name: value.half() for name, value in network.state_dict().items()}, path)


def judge(out: Path, data: Path) -> None:
    """Write the network for the package, and (n,) float32 log odds by networks trained without a picture's photo."""
    unseen = [load_network(as_onnx(out / f"small{fold}.pt")) for fold in range(FOLDS)]
    odds = [
        network_log_odds(list(make_grids([small]).lab), unseen[row["fold"]])[0]
        for batch in batches(data)
        for row, small in batch
    ]
    np.save(out / "odds.npy", np.array(odds, np.float32))
    WEIGHTS.write_bytes(as_onnx(out / f"small{NO_FOLD}.pt"))
    print(len(odds), "pictures")


def as_onnx(path: Path) -> bytes:
    """A small network as an ONNX file for old versions of OpenCV, too, with normalisation folded into the weights.

    The weights are written in float16. OpenCV computes in float32.
    """
    values = {name: value.double().numpy() for name, value in torch.load(path, map_location="cpu").items()}
    nodes, tensors, came = [], [], "cells"
    for place, (_, stride) in enumerate(WIDTHS):
        norm = f"body.{place}.1."
        scale = values[norm + "weight"] / np.sqrt(values[norm + "running_var"] + nn.BatchNorm2d(1).eps)
        weights = values[f"body.{place}.0.weight"] * scale[:, None, None, None]
        names = [f"weights{place}", f"bias{place}"]
        tensors += _tensors(names, [weights, values[norm + "bias"] - values[norm + "running_mean"] * scale])
        node = make_node(
            "Conv", [came, *names], [f"sum{place}"], kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4
        )
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
    model: bytes = make_model(graph, opset_imports=[make_opsetid("", 11)], ir_version=7).SerializeToString()
    return model


def _tensors(names: Sequence[str], values: Sequence[NDArray[np.float64]]) -> list[TensorProto]:
    return [from_array(value.astype(np.float16), name) for name, value in zip(names, values, strict=True)]


if __name__ == "__main__":
    main()
