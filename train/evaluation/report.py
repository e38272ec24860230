"""The result of an evaluation as a printed table, as JSON, and as one self-contained HTML page."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.evaluation.feature_metrics import MIN_FID_PHOTOS
from train.evaluation.protocols import ComparisonProtocol, Protocol
from train.evaluation.scores import PhotoResult, PredictionSummary, Predictor, originals_hue
from train.pages import PageKind, jpeg_uri

AnyProtocol = Protocol | ComparisonProtocol
Pixels = NDArray[np.uint8]
Render = Callable[[int], tuple[Pixels, Pixels, Pixels]]
"""Returns gray, predicted and original of the photo with this index, each (H, W, 3) uint8 sRGB."""
Results = Sequence[PhotoResult]
Summaries = Mapping[Predictor, PredictionSummary]

Table = Sequence[tuple[str, Sequence[str]]]
"""Rows of a label and cells; the first one is the header."""

TABLE_WIDTH = 20 + 4 * 14
"""Columns of the printed table."""
PHOTOS_PER_GROUP = 4
"""Photos in each group of the page: best, median, worst."""
MEASURES = (
    ("loss ÷ neutral loss", "loss_to_neutral", ".3f", "Lower is better; 1 is as good as plain gray."),
    ("colorfulness M", "colorfulness", ".1f", "0 is gray, 33 moderate, 82 high (Hasler and Süsstrunk)."),
    ("M ÷ M of originals", "colorfulness_share", ".0%", "100% is as colorful as the originals."),
    (
        "difference of M",
        "colorfulness_difference",
        ".1f",
        "How far the M of a photo is from the M of its original, up or down, on average. Lower is better.",
    ),
    (
        "M, absolute variant",
        "colorfulness_absolute",
        ".1f",
        "M as several papers calculate it, without the signs of color differences. Compare only this row with theirs.",
    ),
    (
        "hue entropy, bits",
        "hue.entropy_bits",
        ".2f",
        "How widely the colors are spread over the hues: 0 is one hue, 5.17 all alike. Brown pictures have less.",
    ),
    ("warm hues", "hue.warm", ".0%", "Share of the chroma at hues of 20 to 110 degrees: skin, wood, brown, yellow."),
    ("green hues", "hue.green", ".0%", "Share of the chroma at hues of 110 to 180 degrees."),
    ("blue hues", "hue.blue", ".0%", "Share of the chroma at hues of 180 to 290 degrees: cyan, sky, water."),
    ("magenta hues", "hue.magenta", ".0%", "Share of the chroma at hues of 290 to 20 degrees: violet, pink."),
    ("PSNR dB", "psnr_db", ".2f", "How close the pixels are to the original. Higher is better, but gray is high too."),
    ("SSIM", "ssim", ".3f", "How close the structure is to the original, at most 1. Gray is high too."),
    ("LPIPS", "lpips", ".3f", "How different photo and original look to a network. Lower is better."),
    ("FID", "fid", ".1f", "How different the set of photos is from the set of originals. Lower is better."),
)
"""Label, field of `PredictionSummary`, number format, and explanation of each row."""
BASELINES = (
    "Baselines: mean color predicts one color for all photos, the one with the lowest loss; neutral gray predicts no "
    "color, and its loss is the neutral loss."
)
COLORFULNESS = (
    "M is the colorfulness of Hasler and Süsstrunk: 0 is gray, 33 moderate, 82 high. Difference of M: how far the M of "
    "a prediction is from that of its original, up or down, on average over the photos. Absolute variant: M from "
    "|R − G| and |(R + G) ÷ 2 − B|, without their signs, as several papers calculate it; compare only it with theirs."
)
HUES = (
    "Hue entropy: how widely the colors are spread over the hues, from 0 (one hue) to 5.17 bits. Predictions with "
    "clearly less entropy than the originals, and more in warm hues, are brown, whatever their loss and colorfulness."
)
PSNR_WARNING = "PSNR and SSIM are high for gray predictions too: judge by colorfulness, and compare with neutral gray."
NOT_MEASURED = "{} was not measured: name its network's file with {}, see docs/how-to/measure-lpips-and-fid.md."
FEW_PHOTOS = (
    f"FID rises as the number of photos falls, steeply below {MIN_FID_PHOTOS:,}: compare it only with results on these "
    "same {:,} photos."
)


def render_lines(
    protocol: AnyProtocol, results: Results, summaries: Summaries, width: int = TABLE_WIDTH
) -> Iterator[str]:
    """Yield the lines that `train evaluate` prints; the table fits into `width` columns, at least 34."""
    yield protocol.describe()
    if warning := protocol.warning():
        yield warning
    yield from _format_table(list(build_table(results, summaries)), width)
    yield f"tones of {protocol.judged}: {count_tones(_judged(summaries))}"
    yield COLORFULNESS
    yield HUES
    yield from explanations(protocol, _judged(summaries))


def build_table(results: Results, summaries: Summaries) -> Iterator[tuple[str, list[str]]]:
    """Yield label and cells of each row: a header, then every measured number for each predictor and the originals."""
    means = original_means(results)
    yield "", [*summaries, "originals"]
    for label, name, number_format, _ in MEASURES:
        values = [attrgetter(name)(summary) for summary in summaries.values()]
        if None not in values:
            original = format(means[name], number_format) if name in means else ""
            yield label, [*(format(value, number_format) for value in values), original]


def _format_table(table: Table, width: int) -> Iterator[str]:
    """Yield the lines of a table; on a narrow terminal, one line for each number below the label of its row."""
    if width >= TABLE_WIDTH:
        yield from (f"{label:20}" + "".join(f"{cell:>14}" for cell in cells) for label, cells in table)
        return
    (_, heads), *rows = table
    for label, cells in rows:
        yield label
        yield from (f"  {head:14}{cell:>10}" for head, cell in zip(heads, cells, strict=True) if cell)


def explanations(protocol: AnyProtocol, summary: PredictionSummary) -> Iterator[str]:
    """Yield how to compare the numbers, and how to get those that are missing."""
    yield from (BASELINES, PSNR_WARNING)
    if summary.lpips is None:
        yield NOT_MEASURED.format("LPIPS", "--lpips-weights")
    if summary.fid is None:
        yield NOT_MEASURED.format("FID", "--fid-weights")
    elif protocol.photos < MIN_FID_PHOTOS:
        yield FEW_PHOTOS.format(protocol.photos)


def original_means(results: Results) -> dict[str, float]:
    """Return the mean colorfulness of the originals, signed and absolute, and their hue spread, by row of the table."""
    hues = {f"hue.{name}": value for name, value in asdict(originals_hue(results)).items()}
    return hues | {
        "colorfulness": math.fsum(photo.original_colorfulness for photo in results) / len(results),
        "colorfulness_absolute": math.fsum(photo.original_colorfulness_absolute for photo in results) / len(results),
    }


def _judged(summaries: Summaries) -> PredictionSummary:
    """The summary of the network or the pictures, which comes before the baselines."""
    return next(iter(summaries.values()))


def count_tones(summary: PredictionSummary) -> str:
    """Return the number of predictions by tone, most frequent first."""
    return ", ".join(f"{count} {tone}" for tone, count in sorted(summary.tones.items(), key=lambda entry: -entry[1]))


def as_json(
    protocol: AnyProtocol,
    results: Results,
    summaries: Summaries,
    entries: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Return protocol, summaries, and the judged scores of each photo; infinite and undefined numbers are null.

    Args:
        protocol: what was measured.
        results: of all photos.
        summaries: of `summarize`.
        entries: further entries, by their keys.
    """
    means = original_means(results)
    facts = {
        "protocol": asdict(protocol),
        "originals": {name: value for name, value in means.items() if not name.startswith("hue.")}
        | {"hue": asdict(originals_hue(results))},
        "predictions": {name: asdict(summary) for name, summary in summaries.items()},
        "photos": [{"path": photo.name, "gain": photo.gain, **asdict(photo.judged)} for photo in results],
        **entries,
    }
    return json.dumps(_replace_nonfinite(facts), ensure_ascii=False)


def _replace_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _replace_nonfinite(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_replace_nonfinite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def render_page(render: Render, protocol: AnyProtocol, results: Results, summaries: Summaries) -> str:
    """Return one self-contained HTML page: the table, and the best, median and worst photos by gain over gray."""
    ranked = sorted(results, key=lambda photo: -photo.gain)
    middle = max(0, len(ranked) // 2 - PHOTOS_PER_GROUP // 2)
    groups = [
        ("Best", ranked[:PHOTOS_PER_GROUP]),
        ("Median", ranked[middle:][:PHOTOS_PER_GROUP]),
        ("Worst", ranked[::-1][:PHOTOS_PER_GROUP]),
    ]
    if len(ranked) <= 2 * PHOTOS_PER_GROUP:
        groups = [("All photos, best first", ranked)]
    warning = protocol.warning()
    (_, heads), *body = build_table(results, summaries)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    meanings = {label: meaning for label, _, _, meaning in MEASURES}
    rows = "".join(
        f"<tr><th>{label}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        f'<tr class="meaning"><td colspan="{len(heads) + 1}">{escape(meanings[label])}</td></tr>'
        for label, cells in body
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in explanations(protocol, _judged(summaries)))
    photos = "".join(
        f'<h2>{title}</h2><div class="photos">'
        + "".join(_figure(photo, render(photo.index)) for photo in group)
        + "</div>"
        for title, group in groups
    )
    return (
        f"{PAGE.start}{VIEWPORT}<style>{STYLE}</style>"
        f"<h1>{escape(protocol.title())}</h1><p>{escape(protocol.describe())}.</p>"
        f"{f'<p><b>{escape(warning)}.</b></p>' if warning else ''}"
        f"<p>{protocol.describe_hashes()}</p>"
        f'<div class="wide" tabindex="0"><table><tr><th></th>{head}</tr>{rows}</table></div>'
        f"<p>Tones of {protocol.judged}: {escape(count_tones(_judged(summaries)))}.</p><ul>{notes}</ul>"
        "<p>Photos are ranked by how much lower their loss is than the loss of a gray picture. M is the "
        "colorfulness.</p>"
        f"{photos}"
    )


PAGE = PageKind(
    start='<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation of a colorizer by vividset</title>',
    name="an evaluation page",
    option="--html",
    advice="choose another name with --html",
)
"""The page of `train evaluate` and `train compare`."""
VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:clamp(1.2rem,4vw,2rem)}h1,p{overflow-wrap:anywhere}.wide{overflow-x:auto}table{border-collapse:collapse}
th,td{padding:.2rem .5rem;text-align:right}th:first-child{text-align:left;padding-left:0}
tr:not(.meaning){border-top:1px solid #8886}tr:first-child{border:0}ul{font-size:.85rem;padding-left:1.2rem}
.meaning td{max-width:0;padding:0 0 .4rem;text-align:left;font-size:.85rem}.meaning,.label,dt{opacity:.75}
@media(max-width:30rem){table{font-size:.8rem}th,td{padding:.2rem}.meaning td{font-size:inherit}}
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:2rem}
figure{margin:0;font-size:.85rem}.three{display:grid;grid-template-columns:repeat(3,1fr);gap:.5rem;text-align:center}
.three img{display:block;width:100%}figcaption{margin-top:.4rem;font-weight:600;overflow-wrap:anywhere}
dl{display:flex;flex-wrap:wrap;gap:0 1.2rem;margin:0}dl div{display:flex;gap:.4rem}dd{margin:0}
"""


def _figure(photo: PhotoResult, pictures: tuple[Pixels, Pixels, Pixels]) -> str:
    scores = photo.judged
    shown = "predicted" if "network" in photo.scores else "picture"
    labels = ("gray", f"{shown}, M {scores.colorfulness:.0f}", f"original, M {photo.original_colorfulness:.0f}")
    images = "".join(
        f'<div><img src="{_data_uri(pixels)}" alt=""><span class="label">{label}</span></div>'
        for label, pixels in zip(labels, pictures, strict=True)
    )
    facts = {
        "loss": f"{scores.loss:.4f}",
        "loss of gray": f"{photo.scores['neutral gray'].loss:.4f}",
        "PSNR": f"{scores.psnr_db:.1f} dB",
        "tone of the prediction" if "network" in photo.scores else "tone of the picture": scores.tone,
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    name = f"<figcaption>{escape(photo.name)}</figcaption>"
    return f'<figure><div class="three">{images}</div>{name}<dl>{listed}</dl></figure>'


def _data_uri(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return jpeg_uri(buffer.getvalue())
