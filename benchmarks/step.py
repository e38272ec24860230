"""Photos a second of one optimizer step: float32 eager PyTorch with TF32 off, against quicker ways, in the same run.

    python benchmarks/step.py --device cuda                                   # 96 channels, 256 px, batch 16
    python benchmarks/step.py --channels 24 --size 64 --batch 4 --steps 3     # a size for CPUs

Ways take turns, and the median of the rounds is printed with its ratio to the first. With --tflops, the card's
arithmetic peak in bf16, the share of it that 3 x the forward pass's operations come to (108 GMAC a photo at 96 channels
and 256 px) is printed too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from train.models.losses import ColorizationWeightedLoss
from train.models.unet import ColorUNet

GMAC_AT_96_AND_256 = 108


@dataclass(frozen=True)
class Way:
    """How a step is computed."""

    tf32: bool = False
    channels_last: bool = False
    bf16: bool = False
    compiled: bool = False
    fused: bool = False

    def __str__(self) -> str:
        """Its parts."""
        parts = [name for name in ("tf32", "channels_last", "bf16", "compiled", "fused") if getattr(self, name)]
        return " + ".join(parts) or "float32 eager"


def main() -> None:
    """Print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels", type=int, default=96)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="also on a CPU")
    parser.add_argument("--tflops", type=float)
    options = parser.parse_args()
    quick = Way(channels_last=True, fused=True)
    ways = [Way(), Way(channels_last=True), quick, Way(channels_last=True, bf16=True), replace(quick, bf16=True)]
    if options.device != "cpu":
        ways[3:3] = [Way(tf32=True), replace(quick, tf32=True)]
    if options.compile or options.device != "cpu":
        ways.append(replace(quick, bf16=True, compiled=True))
    steps = [step(way, options) for way in ways]
    rates: list[list[float]] = [[] for _ in ways]
    for _ in range(options.rounds):
        for one, found in zip(steps, rates, strict=True):
            found.append(options.batch * options.steps / seconds(one, options.steps, options.device))
    first = statistics.median(rates[0])
    gmac = 3 * GMAC_AT_96_AND_256 * (options.channels / 96) ** 2 * (options.size / 256) ** 2
    for way, found in zip(ways, rates, strict=True):
        rate = statistics.median(found)
        share = f"   {100 * 2e-3 * gmac * rate / options.tflops:.0f} % of the peak" if options.tflops else ""
        print(f"{rate:9.2f} photos/s   ratio {rate / first:5.2f}   {way}{share}")


def step(way: Way, options: argparse.Namespace) -> Callable[[], object]:
    """One optimizer step on made-up photos, warmed up."""
    torch.manual_seed(0)
    network = ColorUNet(options.channels).to(options.device)
    if way.channels_last:
        network.to(memory_format=torch.channels_last)
    model = torch.compile(network, dynamic=False) if way.compiled else network
    adamw = torch.optim.AdamW(network.parameters(), lr=5e-5, fused=way.fused)
    criterion = ColorizationWeightedLoss()
    shape = (options.batch, 1, options.size, options.size)
    lightness = torch.rand(shape, device=options.device) * 2 - 1
    target = torch.randn(shape[0], 2, *shape[2:], device=options.device)

    def once() -> None:
        torch.backends.cudnn.allow_tf32 = way.tf32
        with torch.autocast(options.device.partition(":")[0], torch.bfloat16, enabled=way.bf16):
            predicted = model(lightness)
        criterion(predicted, target).backward()
        adamw.step()
        adamw.zero_grad(set_to_none=True)

    once()
    return once


def seconds(one: Callable[[], object], steps: int, device: str) -> float:
    """Of so many steps: on a CPU the process's CPU time over its threads, since other processes share the machine."""
    if device == "cpu":
        began = time.process_time()
        for _ in range(steps):
            one()
        return (time.process_time() - began) / torch.get_num_threads()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        one()
    torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
