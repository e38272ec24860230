"""Photos per second of one optimizer step: float32 eager PyTorch without TF32, compared with faster settings.

    python benchmarks/step.py --device cuda                                   # 96 channels, 256 px, batch 16
    python benchmarks/step.py --channels 24 --size 64 --batch 4 --steps 3     # a size for CPUs

The settings take turns; the median of the rounds is printed with its ratio to the first setting. With --tflops, the
GPU's peak in bf16, its utilisation is printed too: a step is counted as 3 forward passes of 108 GMAC a photo (at 96
channels and 256 px).
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
class StepSettings:
    """Settings of an optimizer step."""

    tf32: bool = False
    channels_last: bool = False
    bf16: bool = False
    compiled: bool = False
    fused: bool = False

    def __str__(self) -> str:
        """Names of the settings that are on."""
        parts = [name for name in ("tf32", "channels_last", "bf16", "compiled", "fused") if getattr(self, name)]
        return " + ".join(parts) or "float32 eager"


def main() -> None:
    """Print one line for each setting."""
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
    fast = StepSettings(channels_last=True, fused=True)
    settings = [
        StepSettings(),
        StepSettings(channels_last=True),
        fast,
        StepSettings(channels_last=True, bf16=True),
        replace(fast, bf16=True),
    ]
    if options.device != "cpu":
        settings[3:3] = [StepSettings(tf32=True), replace(fast, tf32=True)]
    if options.compile or options.device != "cpu":
        settings.append(replace(fast, bf16=True, compiled=True))
    steps = [make_step(setting, options) for setting in settings]
    rates: list[list[float]] = [[] for _ in settings]
    for _ in range(options.rounds):
        for run_step, measured in zip(steps, rates, strict=True):
            measured.append(options.batch * options.steps / time_steps(run_step, options.steps, options.device))
    first = statistics.median(rates[0])
    gmac = 3 * GMAC_AT_96_AND_256 * (options.channels / 96) ** 2 * (options.size / 256) ** 2
    for setting, measured in zip(settings, rates, strict=True):
        rate = statistics.median(measured)
        share = f"   {100 * 2e-3 * gmac * rate / options.tflops:.0f} % of the peak" if options.tflops else ""
        print(f"{rate:9.2f} photos/s   ratio {rate / first:5.2f}   {setting}{share}")


def make_step(settings: StepSettings, options: argparse.Namespace) -> Callable[[], object]:
    """Return a function that takes one optimizer step on random data; it has been called once to warm up."""
    torch.manual_seed(0)
    network = ColorUNet(options.channels).to(options.device)
    if settings.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    model = torch.compile(network, dynamic=False) if settings.compiled else network
    adamw = torch.optim.AdamW(network.parameters(), lr=5e-5, fused=settings.fused)
    criterion = ColorizationWeightedLoss()
    shape = (options.batch, 1, options.size, options.size)
    lightness = torch.rand(shape, device=options.device) * 2 - 1
    target = torch.randn(shape[0], 2, *shape[2:], device=options.device)

    def run_step() -> None:
        torch.backends.cudnn.allow_tf32 = settings.tf32
        with torch.autocast(options.device.partition(":")[0], torch.bfloat16, enabled=settings.bf16):
            predicted = model(lightness)
        criterion(predicted, target).backward()
        adamw.step()
        adamw.zero_grad(set_to_none=True)

    run_step()
    return run_step


def time_steps(run_step: Callable[[], object], steps: int, device: str) -> float:
    """Return the seconds of several steps.

    On a CPU this is CPU time divided by the number of threads, because other processes share the machine.
    """
    if device == "cpu":
        start = time.process_time()
        for _ in range(steps):
            run_step()
        return (time.process_time() - start) / torch.get_num_threads()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        run_step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
