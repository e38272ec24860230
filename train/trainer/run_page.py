"""The page of a run, run.html: loss curves, findings and sample pictures in one file without external resources."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from PIL import Image

from curate.files import write_atomic
from curate.text import pluralize
from curate.version import __version__
from train.checkpoint import Parent, Rollback
from train.health.curve import LossCurve, Validation
from train.health.findings import (
    DOCUMENTED_LOSSES,
    DOCUMENTED_NEUTRAL,
    WINDOW_STEPS,
    Finding,
    describe_ending,
    summarize_findings,
)
from train.pages import jpeg_uri
from train.recipe import Recipe
from train.trainer.charts import MAX_POINTS, Level, Line, Points, chart_top, draw_chart
from train.trainer.validation import CAPTION_PX

MAX_SHEETS = 6
SHEET_PX = 320
"""Six sheets of this width as JPEG are about 300 KB."""
MAX_TABLE_ROWS = 50
LADDER = (
    "The green dotted lines are the documented ladder: the training losses from 0.12 (predicts gray) to 0.04 (well "
    "trained) that the documents behind the recipe describe, divided by their neutral loss of 0.12. A loss that stays "
    "above 0.10 after the warm-up is a plateau."
)

HUE_ROWS = (
    ("hue entropy, bits", "entropy_bits", ".2f"),
    ("chroma in warm hues, 20 to 110°", "warm", ".0%"),
    ("green, 110 to 180°", "green", ".0%"),
    ("blue, 180 to 290°", "blue", ".0%"),
    ("magenta, 290 to 20°", "magenta", ".0%"),
)
"""Label, field of `HueSpread` and number format of each row of the table of hues."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run was started with."""

    recipe: Recipe
    total_steps: int
    manifest: str
    """Path of the manifest, and the first digits of its SHA-256."""
    photos: tuple[int, int]
    """For training, for validation."""
    command: str
    parent: Parent | None = None
    """The checkpoint that the run started from."""


def write_page(
    run_dir: Path,
    info: RunInfo,
    curve: LossCurve,
    rates: Sequence[float],
    findings: Sequence[Finding],
    rollbacks: Sequence[Rollback],
) -> None:
    """Write run.html into a run's folder, atomically; see `render_page` for the arguments."""
    write_atomic(render_page(run_dir, info, curve, rates, findings, rollbacks).encode(), run_dir / "run.html")


def render_page(
    run_dir: Path,
    info: RunInfo,
    curve: LossCurve,
    rates: Sequence[float],
    findings: Sequence[Finding],
    rollbacks: Sequence[Rollback],
) -> str:
    """Return the page as HTML text.

    Args:
        run_dir: folder of the run; pictures of its samples/ are embedded.
        info: what the run was started with.
        curve: losses and validations so far.
        rates: learning rate of each step.
        findings: those since the last rollback.
        rollbacks: all so far.
    """
    name, steps = escape(run_dir.resolve().name), len(curve.ratios)
    state = f"{steps:,} of {pluralize(info.total_steps, 'step')}"
    ending = describe_ending(curve.ratios, curve.neutrals)
    body = [
        f'<header><p class="brand">vividset</p><h1>{name}</h1>',
        f'<p class="lead">Training run, {state}, ending {ending}.</p></header><main>',
        *_describe_findings(findings, rollbacks, steps - curve.first_step),
        *(f'<p class="note">{escape(entry.warning)}.</p>' for entry in curve.validations[-1:] if entry.warning),
        _describe_run(info),
        _loss_section(curve),
        *_colorfulness_section(curve),
        *_hue_section(curve),
        _rate_section(rates),
        *_sample_section(run_dir),
        *_film_section(run_dir),
        "</main>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f'style-src \'unsafe-inline\'"><meta name="generator" content="vividset {__version__} training run">'
        f"<title>{name}: vividset training run</title>"
        f"<style>{(files('train.trainer') / 'run_page.css').read_text(encoding='utf-8')}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _describe_findings(findings: Sequence[Finding], rollbacks: Sequence[Rollback], steps: int) -> Iterator[str]:
    for finding in findings:
        yield (
            f'<div class="finding"><b>{escape(finding.kind)}</b> at step {finding.step:,}: {escape(finding.evidence)}.'
            f"<br>What to do: {escape(finding.remedy)}.</div>"
        )
    for rollback in rollbacks:
        yield (
            f'<p class="note">Rescued after {escape(rollback.kind)} at step {rollback.found_step:,}: went back to step '
            f"{rollback.from_step:,}, lr {rollback.lr:.0e}, batch {rollback.batch_size}.</p>"
        )
    if not findings and not rollbacks:
        yield f'<p class="note">{summarize_findings(findings, steps).capitalize()}.</p>'


def _describe_run(info: RunInfo) -> str:
    facts = {
        "Manifest": info.manifest,
        "Photos": f"{info.photos[0]:,} for training, {info.photos[1]:,} for validation",
        "Started from": _describe_parent(info.parent) if info.parent else "",
        "Recipe": info.recipe.describe_changes(),
        "Command": info.command,
    }
    rows = "".join(
        f"<tr><td>{name}</td><td>{escape(str(value))}</td></tr>" for name, value in asdict(info.recipe).items()
    )
    return (
        "<dl>"
        + "".join(f"<dt>{name}</dt><dd><code>{escape(value)}</code></dd>" for name, value in facts.items() if value)
        + f"</dl><details><summary>All hyper-parameters</summary><table>{rows}</table></details>"
    )


def _describe_parent(parent: Parent) -> str:
    if parent.held_out is None:
        note = "; its training photos are unknown, so validation or test photos may be among them"
    elif parent.held_out:
        counts = " and ".join(f"{count:,} of split {split}" for split, count in parent.held_out.items())
        note = f"; it was trained on {counts} of this run, so scores on these are too good"
    else:
        note = ""
    return f"{parent.path}, step {parent.step:,} (sha256 {parent.sha256[:12]}){note}"


def _loss_section(curve: LossCurve) -> str:
    training = _smooth(curve)
    validation = [(entry.step, entry.ratio) for entry in curve.validations]
    levels = [Level(loss / DOCUMENTED_NEUTRAL, "level", f"{loss:.2f}") for loss in DOCUMENTED_LOSSES]
    chart = draw_chart(
        f"Loss divided by the loss of gray, over {len(curve.ratios):,} steps",
        [Line("training", "loss", training), Line("validation", "val", validation, has_dots=True)],
        steps=len(curve.ratios),
        top=chart_top([value for _, value in [*training, *validation]], 1.2, 2.4),
        levels=[*levels, Level(curve.mean_color, "color")],
    )
    key = [("loss", "training, smoothed"), ("level", "documented ladder")]
    key[1:1] = [("val", "validation, on held-out photos")] if validation else []
    key += [("color", f"best single color ({curve.mean_color:.2f})")] if math.isfinite(curve.mean_color) else []
    return (
        "<section><h2>Loss ÷ neutral</h2>"
        '<p class="quiet">Each loss is divided by the loss of predicting gray for the same photos: 1 means that '
        f"nothing was learned.</p>{_legend(key)}{chart}<p>{LADDER}</p>{_ladder_table(training, validation)}"
        f"{_validation_table(curve.validations)}</section>"
    )


def _ladder_table(training: Points, validation: Points) -> str:
    """When the run first reached each documented loss, on training and on held-out photos."""
    head = "<th>documented loss</th><th>÷ neutral</th><th>reached in training</th>"
    rows = [f"<tr>{head}{'<th>on held-out photos</th>' if validation else ''}</tr>"]
    for loss in DOCUMENTED_LOSSES[1:]:
        ratio = loss / DOCUMENTED_NEUTRAL
        reached = [
            next((f"step {step:,}" for step, value in points if value <= ratio), "not yet")
            for points in (training, validation)
            if points
        ]
        cells = "".join(f"<td>{cell}</td>" for cell in (f"{loss:.2f}", f"{ratio:.2f}", *reached))
        rows.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _validation_table(validations: Sequence[Validation]) -> str:
    """The validations as numbers; of many, some that are evenly spread, and the last."""
    if not validations:
        return ""
    every = -(-len(validations) // MAX_TABLE_ROWS)
    rows = "".join(
        f"<tr><td>{entry.step:,}</td><td>{entry.ratio:.2f}</td><td>{entry.colorfulness_share:.0%}</td></tr>"
        for entry in validations[::-1][::every][::-1]
    )
    head = "<tr><th>step</th><th>loss ÷ neutral</th><th>colorfulness ÷ the originals'</th></tr>"
    return f"<details><summary>Validations as a table</summary><table>{head}{rows}</table></details>"


def _colorfulness_section(curve: LossCurve) -> Iterator[str]:
    shares = [(entry.step, entry.colorfulness_share) for entry in curve.validations]
    if not shares:
        return
    top = chart_top([share for _, share in shares], 1.2, 2.4)
    line = Line("validation", "val", shares, has_dots=True)
    chart = draw_chart(
        "Colorfulness of predictions divided by the originals'",
        [line],
        steps=len(curve.ratios),
        top=top,
        levels=[Level(1.0, "level")],
    )
    yield (
        "<section><h2>Colorfulness ÷ the originals'</h2>"
        '<p class="quiet">Of the predictions for held-out photos: 1 is as colorful as the originals.</p>'
        f"{chart}</section>"
    )


def _hue_section(curve: LossCurve) -> Iterator[str]:
    """Hue entropy over the steps; of the last validation, all of the hue spread, beside that of the originals."""
    points = [(entry.step, entry.hue.entropy_bits) for entry in curve.validations if entry.hue]
    if not points or not (last := curve.validations[-1]).hue or not last.original_hue:
        return
    chart = draw_chart(
        "Hue entropy of predictions in bits",
        [Line("validation", "val", points, has_dots=True)],
        steps=len(curve.ratios),
        top=5.5,
        levels=[Level(last.original_hue.entropy_bits, "level")],
    )
    predicted, original = asdict(last.hue), asdict(last.original_hue)
    rows = "".join(
        f"<tr><td>{label}</td><td>{predicted[name]:{form}}</td><td>{original[name]:{form}}</td></tr>"
        for label, name, form in HUE_ROWS
    )
    yield (
        "<section><h2>Hues</h2>"
        '<p class="quiet">How widely the colors of the predictions for held-out photos are spread over the hues, in '
        "bits. Clearly less than the originals, with more chroma in warm hues, means brown pictures.</p>"
        f"{_legend([('val', 'predictions'), ('level', 'originals')])}{chart}"
        f"<table><tr><th>step {last.step:,}</th><th>predictions</th><th>originals</th></tr>{rows}</table>"
        "</section>"
    )


def _rate_section(rates: Sequence[float]) -> str:
    line = Line("learning rate", "loss", list(enumerate(rates, 1)))
    chart = draw_chart("Learning rate", [line], steps=len(rates), top=1.05 * max([*rates, 1e-12]))
    return f"<section><h2>Learning rate</h2>{chart}</section>"


def _legend(key: Sequence[tuple[str, str]]) -> str:
    entries = "".join(f'<span class="{css_class}"><i></i>{escape(name)}</span>' for css_class, name in key)
    return f'<p class="legend">{entries}</p>'


def _smooth(curve: LossCurve) -> list[tuple[int, float]]:
    """Return (last step, loss ÷ neutral of the same photos) of consecutive windows, at most about `MAX_POINTS`."""
    ratios, neutrals = curve.finite_values(0)
    steps = len(ratios)
    width = max(1, min(WINDOW_STEPS // 2, steps // 20), steps // MAX_POINTS)
    return [
        (end, float(ratios[end - width : end].sum() / max(1e-12, neutrals[end - width : end].sum())))
        for end in range(width, steps + 1, width)
    ]


def _sample_section(run_dir: Path) -> Iterator[str]:
    """The sample sheets of up to six steps, including the first and the last."""
    sheets = sorted((run_dir / "samples").glob("step-*.png"))
    if not sheets:
        return
    shown = {round(index * (len(sheets) - 1) / (MAX_SHEETS - 1)) for index in range(MAX_SHEETS)}
    figures = "".join(_figure(sheets[index]) for index in sorted(shown))
    yield f'<section><h2>Samples over time</h2><div class="sheets">{figures}</div></section>'


def _figure(sheet: Path) -> str:
    step = f"step {int(sheet.stem.removeprefix('step-')):,}"
    return (
        f"<figure><figcaption><b>{step}</b><span>gray</span><span>predicted</span><span>original</span></figcaption>"
        f'<img src="{_embed(sheet, SHEET_PX)}" alt="gray, predicted and original photos at {step}"></figure>'
    )


def _film_section(run_dir: Path) -> Iterator[str]:
    """Training photos beside what the network sees of them, in a run with `--augment film`."""
    sheet = run_dir / "film.png"
    if sheet.exists():
        yield (
            "<section><h2>What the network sees</h2>"
            '<p class="quiet">Training photos (left), and what the network sees of them in the first epochs: '
            f'--augment film.</p><div class="sheets"><figure><img src="{_embed(sheet, 2 * SHEET_PX)}" '
            'alt="training photos, and degraded black-and-white copies"></figure></div></section>'
        )


def _embed(sheet: Path, width: int) -> str:
    """Return a sheet without its captions as a JPEG in a data URL, `width` px wide at most."""
    with Image.open(sheet) as opened:
        picture = opened.convert("RGB").crop((0, CAPTION_PX, *opened.size))
    picture.thumbnail((width, 3 * width))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    return jpeg_uri(data.getvalue())
