"""An evaluation for people and programs: a table, JSON, and one self-contained page."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from curate.errors import UsageError
from curate.files import check_writable, write_atomic, write_errors
from curate.text import pluralize
from train.evaluation.evaluator import Evaluation, PhotoResult, Pixels, PredictionSummary, Predictor, Protocol
from train.evaluation.feature_metrics import ENOUGH_PHOTOS

SHOWN = 4
"""Photos of each kind on the page: best, median, worst."""
MEASURES = (
    ("loss ÷ neutral", "loss_to_neutral", ".3f"),
    ("colourfulness", "colorfulness", ".1f"),
    ("of the originals'", "colorfulness_share", ".0%"),
    ("off by", "colorfulness_difference", ".1f"),
    ("absolute variant", "colorfulness_absolute", ".1f"),
    ("PSNR dB", "psnr_db", ".2f"),
    ("SSIM", "ssim", ".3f"),
    ("LPIPS", "lpips", ".3f"),
    ("FID", "fid", ".1f"),
)
NOT_MEASURED = "{} wants a network's file, {}: docs/how-to/measure-lpips-and-fid.md."
FEW_PHOTOS = f"FID grows as photos get fewer, steeply below {ENOUGH_PHOTOS:,}: compare it only on these same {{:,}}."
WARNING = "PSNR and SSIM reward gray: read them beside colourfulness and what gray scores."


def lines(
    protocol: Protocol, judged: Sequence[PhotoResult], rows: Mapping[Predictor, PredictionSummary]
) -> Iterator[str]:
    """What `train evaluate` prints."""
    yield said(protocol)
    for name, cells in table(judged, rows):
        yield f"{name:18}" + "".join(f"{cell:>14}" for cell in cells)
    yield f"tone of the network's pictures: {tones(rows['network'])}"
    yield from notes(protocol, rows["network"])


def table(
    judged: Sequence[PhotoResult], rows: Mapping[Predictor, PredictionSummary]
) -> Iterator[tuple[str, list[str]]]:
    """Names and cells: a head, then every number that was measured, for each way to predict and for the originals."""
    true = originals(judged)
    yield "", [*rows, "originals"]
    for head, name, how in MEASURES:
        values = [getattr(row, name) for row in rows.values()]
        if None not in values:
            yield head, [format(value, how) for value in values] + [format(true[name], how) if name in true else ""]


def notes(protocol: Protocol, row: PredictionSummary) -> Iterator[str]:
    """How to read the numbers, and how to have those that are missing."""
    yield WARNING
    if row.lpips is None:
        yield NOT_MEASURED.format("LPIPS", "--lpips-weights")
    if row.fid is None:
        yield NOT_MEASURED.format("FID", "--fid-weights")
    elif protocol.photos < ENOUGH_PHOTOS:
        yield FEW_PHOTOS.format(protocol.photos)


def said(protocol: Protocol) -> str:
    """The protocol in a sentence."""
    left_out = f", {protocol.unreadable:,} more can't be read" if protocol.unreadable else ""
    return (
        f"{pluralize(protocol.photos, 'photo')} of {protocol.manifest} (split {protocol.split}{left_out}) "
        f"at {protocol.size_px} px: {protocol.crop}; {protocol.color_space}"
    )


def originals(judged: Sequence[PhotoResult]) -> dict[str, float]:
    """Mean colourfulness of the originals, signed and absolute."""
    return {
        "colorfulness": math.fsum(photo.original_colorfulness for photo in judged) / len(judged),
        "colorfulness_absolute": math.fsum(photo.original_colorfulness_absolute for photo in judged) / len(judged),
    }


def tones(row: PredictionSummary) -> str:
    """Counts by tone, commonest first."""
    return ", ".join(f"{count} {tone}" for tone, count in sorted(row.tones.items(), key=lambda entry: -entry[1]))


def as_json(protocol: Protocol, judged: Sequence[PhotoResult], rows: Mapping[Predictor, PredictionSummary]) -> str:
    """Protocol, summaries, and the network's scores of each photo; what is infinite or undefined is null."""
    facts = {
        "protocol": asdict(protocol),
        "originals": originals(judged),
        "predictions": {way: asdict(row) for way, row in rows.items()},
        "photos": [{"path": photo.name, "gain": photo.gain, **asdict(photo.by["network"])} for photo in judged],
    }
    return json.dumps(_finite(facts), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page(
    evaluation: Evaluation,
    protocol: Protocol,
    judged: Sequence[PhotoResult],
    rows: Mapping[Predictor, PredictionSummary],
) -> str:
    """One HTML file that needs nothing else: the table, and the best, median and worst photos by gain over gray."""
    ranked = sorted(judged, key=lambda photo: -photo.gain)
    middle = max(0, len(ranked) // 2 - SHOWN // 2)
    kinds = [("Best", ranked[:SHOWN]), ("Median", ranked[middle:][:SHOWN]), ("Worst", ranked[::-1][:SHOWN])]
    if len(ranked) <= 2 * SHOWN:
        kinds = [("All of them, best first", ranked)]
    beside = " ".join(notes(protocol, rows["network"]))
    (_, heads), *body = table(judged, rows)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    numbers = "".join(
        f"<tr><th>{name}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for name, cells in body
    )
    photos = "".join(
        f'<h2>{kind}</h2><div class="photos">'
        + "".join(_figure(photo, evaluation.pictures(photo.place)) for photo in chosen)
        + "</div>"
        for kind, chosen in kinds
    )
    return (
        f"{START}{VIEWPORT}<style>{STYLE}</style>"
        f"<h1>Evaluation of {escape(protocol.checkpoint)}</h1><p>{escape(said(protocol))}</p>"
        f"<p>Checkpoint {protocol.checkpoint_sha256[:12]}, manifest {protocol.manifest_sha256[:12]}.</p>"
        f'<div class="wide" tabindex="0"><table><tr><th></th>{head}</tr>{numbers}</table></div>'
        f"<p>Tone of the network's pictures: {escape(tones(rows['network']))}. {beside}</p>"
        f"<p>Below: gray, predicted, original; ordered by how much better than gray the network's loss is.</p>{photos}"
    )


START = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation of a colorizer by vividset</title>'
VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:clamp(1.2rem,4vw,2rem)}h1,p{overflow-wrap:anywhere}.wide{overflow-x:auto}table{border-collapse:collapse}
th,td{padding:.2rem .5rem;text-align:right}th:first-child{text-align:left;padding-left:0}
tr+tr{border-top:1px solid #8886}
@media(max-width:30rem){table{font-size:.8rem}th,td{padding:.2rem}}
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1.5rem}
figure{margin:0}figure img{width:32%;margin-right:1%}figcaption{font-size:.85rem;overflow-wrap:anywhere}
"""


def check_place(path: Path) -> None:
    """Find out before the work that a page can't be written.

    Raises:
        UsageError: something else than a page of ours is there, or the disk says no.
    """
    with write_errors(path, UsageError, "--html"):
        if os.path.lexists(path) and not (path.is_file() and path.read_bytes().startswith(START.encode())):
            raise UsageError(f"{path} is in the way and no evaluation's page: choose another name with --html")
        check_writable(path)


def write(path: Path, text: str) -> None:
    """Write a page whole; only a page of ours is replaced.

    Raises:
        UsageError: something else is there, or the disk says no.
    """
    check_place(path)
    with write_errors(path, UsageError, "--html"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(text.encode(), path)


def _figure(photo: PhotoResult, pictures: tuple[Pixels, Pixels, Pixels]) -> str:
    scores = photo.by["network"]
    shown = "".join(
        f'<img src="{_data_uri(pixels)}" alt="{name}">'
        for name, pixels in zip(("gray", "predicted", "original"), pictures, strict=True)
    )
    return (
        f"<figure>{shown}<figcaption>{escape(photo.name)}: loss {scores.loss:.4f}, gray "
        f"{photo.by['neutral gray'].loss:.4f}; colourfulness {scores.colorfulness:.0f} of "
        f"{photo.original_colorfulness:.0f}; {scores.psnr_db:.1f} dB; {scores.tone}</figcaption></figure>"
    )


def _data_uri(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
