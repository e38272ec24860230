"""What a run looks like: the loss curve, and grids of gray, predicted and original."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from curate.errors import counted
from curate.manifest import write_whole
from train.findings import DOCUMENTED_NEUTRAL, LADDER, WINDOW_STEPS
from train.health import Validation

Picture = NDArray[np.uint8]
GAP_PX = 4
CAPTION_PX = 16
READABLE_PX = 160


def loss_plot(path: Path, ratios: Sequence[float], validations: Sequence[Validation], mean_color_ratio: float) -> None:
    """Draw loss ÷ neutral over steps with the documented ladder; the file is replaced whole."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    losses = np.asarray(ratios, np.float64)
    _draw_losses(axes, losses)
    if validations:
        steps, held_out = zip(*((seen.step, seen.ratio) for seen in validations), strict=True)
        how = "o-" if len(validations) <= 50 else "-"
        axes.plot(steps, held_out, how, color="tab:red", markersize=3, linewidth=1, label="held-out photos")
    _draw_ladder(axes)
    axes.axhline(mean_color_ratio, color="tab:brown", linewidth=0.8, linestyle="--", label="mean colour")
    finite = losses[np.isfinite(losses)]
    top = max(1.15, min(2.0, float(np.quantile(finite, 0.99)) * 1.1 if len(finite) else 1))
    axes.set(xlabel="step", ylabel="loss ÷ neutral", ylim=(0, top))
    axes.set_title("Loss; green: the documented ladder", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    write_whole(data.getbuffer(), path)


def _draw_losses(axes: Axes, losses: NDArray[np.float64]) -> None:
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="0.8", linewidth=0.7, label="each step")
    width = max(1, min(WINDOW_STEPS, len(losses) // 10))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    axes.plot(steps[width - 1 :], smooth, color="tab:blue", label=f"mean of {counted(width, 'step')}")


def _draw_ladder(axes: Axes) -> None:
    for documented in LADDER:
        ratio = documented / DOCUMENTED_NEUTRAL
        axes.axhline(ratio, color="tab:green", linewidth=0.6, linestyle=":")
        place = axes.get_yaxis_transform()  # across in parts of the frame, up in losses
        axes.text(1.005, ratio, f"{documented:.2f}", transform=place, color="tab:green", fontsize=8, va="center")


def side_by_side(rows: Sequence[Sequence[Picture]], captions: Sequence[str]) -> Image.Image:
    """Rows of pictures of one height each under captions, one caption a column."""
    narrowest = min(picture.shape[1] for row in rows for picture in row)
    enlarge = -(-READABLE_PX // narrowest)  # small pictures are shown larger, so that a caption fits above them
    rows = [[picture.repeat(enlarge, axis=0).repeat(enlarge, axis=1) for picture in row] for row in rows]
    widths = [max(row[column].shape[1] for row in rows) for column in range(len(captions))]
    height = CAPTION_PX + sum(max(picture.shape[0] for picture in row) + GAP_PX for row in rows)
    sheet = Image.new("RGB", (sum(widths) + GAP_PX * (len(widths) - 1), height), "white")
    draw = ImageDraw.Draw(sheet)
    left = 0
    for column, caption in enumerate(captions):
        draw.text((left + 2, 2), caption, fill="black")
        top = CAPTION_PX
        for row in rows:
            sheet.paste(Image.fromarray(row[column]), (left, top))
            top += max(picture.shape[0] for picture in row) + GAP_PX
        left += widths[column] + GAP_PX
    return sheet


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG whole."""
    data = io.BytesIO()
    picture.save(data, format="PNG")
    write_whole(data.getbuffer(), path)
