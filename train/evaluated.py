"""An evaluation for people and programs: a table, JSON, and one self-contained page."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from curate.errors import UsageError
from curate.manifest import settle
from train.evaluate import Evaluation, Judged, Pixels, Protocol, Summary, Way

SHOWN = 4
"""Photos of each kind on the page: best, median, worst."""
COLUMNS = (
    ("loss ÷ neutral", "loss_to_neutral", ".3f"),
    ("colourfulness", "colorfulness", ".1f"),
    ("of the originals'", "colorfulness_share", ".0%"),
    ("off by", "colorfulness_difference", ".1f"),
    ("absolute variant", "colorfulness_absolute", ".1f"),
    ("PSNR dB", "psnr_db", ".2f"),
    ("SSIM", "ssim", ".3f"),
)
NOT_MEASURED = "LPIPS and FID aren't measured: this version has no way to load their weights from a local file."
WARNING = "PSNR and SSIM reward gray: read them beside colourfulness and the gray row."


def lines(protocol: Protocol, judged: Sequence[Judged], rows: Mapping[Way, Summary]) -> Iterator[str]:
    """What `train evaluate` prints."""
    yield said(protocol)
    yield f"{'':14}" + "".join(f"{head:>19}" for head, *_ in COLUMNS)
    for way, row in rows.items():
        yield f"{way:14}" + "".join(f"{format(getattr(row, name), how):>19}" for _, name, how in COLUMNS)
    signed, absolute = originals(judged)
    yield f"{'originals':14}{'':19}{signed:>19.1f}{'':38}{absolute:>19.1f}"
    yield f"tone of the network's pictures: {tones(rows['network'])}"
    yield WARNING
    yield NOT_MEASURED


def said(protocol: Protocol) -> str:
    """The protocol in a sentence."""
    left_out = f", {protocol.unreadable:,} more can't be read" if protocol.unreadable else ""
    return (
        f"{protocol.photos:,} photos of {protocol.manifest} (split {protocol.split}{left_out}) "
        f"at {protocol.size_px} px: {protocol.crop}; {protocol.color_space}"
    )


def originals(judged: Sequence[Judged]) -> tuple[float, float]:
    """Mean colourfulness of the originals, signed and absolute."""
    signed = math.fsum(photo.original_colorfulness for photo in judged) / len(judged)
    return signed, math.fsum(photo.original_colorfulness_absolute for photo in judged) / len(judged)


def tones(row: Summary) -> str:
    """Counts by tone, commonest first."""
    return ", ".join(f"{count} {tone}" for tone, count in sorted(row.tones.items(), key=lambda entry: -entry[1]))


def as_json(protocol: Protocol, judged: Sequence[Judged], rows: Mapping[Way, Summary]) -> str:
    """Protocol, summaries, and the network's scores of each photo; what is infinite or undefined is null."""
    signed, absolute = originals(judged)
    facts = {
        "protocol": asdict(protocol),
        "originals": {"colorfulness": signed, "colorfulness_absolute": absolute},
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


def page(evaluation: Evaluation, protocol: Protocol, judged: Sequence[Judged], rows: Mapping[Way, Summary]) -> str:
    """One HTML file that needs nothing else: the table, and the best, median and worst photos by gain over gray."""
    ranked = sorted(judged, key=lambda photo: -photo.gain)
    middle = max(0, len(ranked) // 2 - SHOWN // 2)
    kinds = (("Best", ranked[:SHOWN]), ("Median", ranked[middle:][:SHOWN]), ("Worst", ranked[::-1][:SHOWN]))
    heads = "".join(f"<th>{escape(head)}</th>" for head, *_ in COLUMNS)
    body = "".join(
        f"<tr><th>{way}</th>" + "".join(f"<td>{getattr(row, name):{how}}</td>" for _, name, how in COLUMNS) + "</tr>"
        for way, row in rows.items()
    )
    signed, absolute = originals(judged)
    truth = f"<tr><th>originals</th><td></td><td>{signed:.1f}</td><td></td><td></td><td>{absolute:.1f}</td></tr>"
    photos = "".join(
        f"<h2>{kind}</h2>" + "".join(_figure(photo, evaluation.pictures(photo.place)) for photo in chosen)
        for kind, chosen in kinds
    )
    return (
        f"{START}<style>{STYLE}</style>"
        f"<h1>Evaluation of {escape(protocol.checkpoint)}</h1><p>{escape(said(protocol))}</p>"
        f"<p>Checkpoint {protocol.checkpoint_sha256[:12]}, manifest {protocol.manifest_sha256[:12]}.</p>"
        f"<table><tr><th></th>{heads}</tr>{body}{truth}</table>"
        f"<p>Tone of the network's pictures: {escape(tones(rows['network']))}. {WARNING} {NOT_MEASURED}</p>"
        f"<p>Below: gray, predicted, original; ordered by how much better than gray the network's loss is.</p>{photos}"
    )


START = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation of a colorizer by vividset</title>'
STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}th,td{padding:.2rem .6rem;text-align:right}th:first-child{text-align:left}
tr+tr{border-top:1px solid #8886}figure{margin:0 0 1.5rem}figure img{width:32%;margin-right:1%}
figcaption{font-size:.85rem;overflow-wrap:anywhere}
"""


def write(path: Path, text: str) -> None:
    """Write a page whole; only a page of ours is replaced.

    Raises:
        UsageError: something else is there, or the disk says no.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        if path.exists() and START.encode() != path.read_bytes()[: len(START)]:
            raise UsageError(f"{path} is in the way and no evaluation's page: choose another name with --html")
        draft.write_text(text, encoding="utf-8")
        settle(draft, path)
    except OSError as exc:
        raise UsageError(f"{path} can't be written: {exc.strerror}: choose another place with --html") from exc


def _figure(photo: Judged, pictures: tuple[Pixels, Pixels, Pixels]) -> str:
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
