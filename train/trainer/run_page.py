"""The page of a run, run.html: loss curves, findings and sample pictures in one file without external resources."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from curate.files import write_atomic
from curate.text import pluralize
from train.checkpoint import Rollback
from train.health.detectors import LossCurve
from train.health.findings import (
    DOCUMENTED_LOSSES,
    DOCUMENTED_NEUTRAL,
    WINDOW_STEPS,
    Finding,
    describe_ending,
    summarize_findings,
)

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 220, 56, 22
MAX_POINTS = 400
MAX_SHEETS = 6
SHEET_PX = 320
"""Six sheets of this width as JPEG are about 300 KB."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #667079; --line: #d9dee2; --back: #fff; --card: #f5f7f8;
  --loss: #1f6fb2; --val: #c2410c; --level: #2f855a; --bad: #b42318 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4ad; --line: #39424a; --back: #14181b;
  --card: #1d2327; --loss: #6cb2ee; --val: #f59e6b; --level: #6fcf97; --bad: #ff8a80 } }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: .5rem 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .25rem }
p { margin: .25rem 0 .75rem } .soft, figcaption { color: var(--soft); font-size: .875rem }
.chart { overflow-x: auto } svg { width: 100%; min-width: 36rem; height: auto; display: block }
svg text { fill: var(--soft); font-size: 12px }
.grid { stroke: var(--line) } .level { stroke: var(--level); stroke-dasharray: 2 4 } polyline { fill: none }
.loss { stroke: var(--loss); stroke-width: 2 } .val { stroke: var(--val); stroke-width: 2 }
circle.val { fill: var(--val) }
.finding { border-left: 4px solid var(--bad); background: var(--card); padding: .5rem .75rem; margin: .5rem 0 }
.sheets { display: flex; gap: 1rem; overflow-x: auto } figure { margin: 0 0 .5rem; flex: 0 0 min(24rem, 85%) }
figure img { width: 100%; height: auto; display: block }
.key { display: inline-block; width: 1rem; height: .2rem; vertical-align: middle; margin: 0 .3rem 0 .6rem }
"""
LEGEND = (
    '<p class="soft"><span class="key" style="background:var(--loss)"></span>training, smoothed'
    '<span class="key" style="background:var(--val)"></span>validation'
    '<span class="key" style="background:var(--level)"></span>documented loss levels</p>'
)


def write_page(
    run_dir: Path, curve: LossCurve, rates: Sequence[float], findings: Sequence[Finding], rollbacks: Sequence[Rollback]
) -> None:
    """Write run.html into a run's folder, atomically; see `render_page` for the arguments."""
    write_atomic(render_page(run_dir, curve, rates, findings, rollbacks).encode(), run_dir / "run.html")


def render_page(
    run_dir: Path, curve: LossCurve, rates: Sequence[float], findings: Sequence[Finding], rollbacks: Sequence[Rollback]
) -> str:
    """Return the page as HTML text.

    Args:
        run_dir: folder of the run; pictures of its samples/ are embedded.
        curve: losses and validations so far.
        rates: learning rate of each step.
        findings: those since the last rollback.
        rollbacks: all so far.
    """
    name, steps = escape(run_dir.resolve().name), len(curve.ratios)
    parts = [
        f"<h1>{name}</h1>",
        f"<p>{pluralize(steps, 'step')}, ending {describe_ending(curve.ratios, curve.neutrals)}.</p>",
        *_finding_parts(findings, rollbacks, steps - curve.first_step),
        *(f"<p>{escape(validation.warning)}.</p>" for validation in curve.validations[-1:] if validation.warning),
        "<h2>Loss ÷ neutral</h2>",
        LEGEND,
        _loss_chart(curve),
        "<h2>Learning rate</h2>",
        _Chart(steps, max([*rates, 1e-12])).draw([("loss", list(enumerate(rates, 1)))], "{:.2g}"),
        *_colorfulness_chart(curve, steps),
        *_sample_sheets(run_dir),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{name}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _finding_parts(findings: Sequence[Finding], rollbacks: Sequence[Rollback], steps: int) -> list[str]:
    parts = [
        f"<div class='finding'><b>{escape(finding.kind)}</b> at step {finding.step:,}: {escape(finding.evidence)}."
        f"<br>What to do: {escape(finding.remedy)}.</div>"
        for finding in findings
    ]
    parts += [
        f"<p>Rescued after {escape(rollback.kind)} at step {rollback.found_step:,}: went back to step "
        f"{rollback.from_step:,}, lr {rollback.lr:.0e}, batch {rollback.batch_size}.</p>"
        for rollback in rollbacks
    ]
    return parts or [f"<p>{summarize_findings(findings, steps).capitalize()}.</p>"]


def _loss_chart(curve: LossCurve) -> str:
    chart = _Chart(len(curve.ratios), 1.2)
    validation_points = [(validation.step, validation.ratio) for validation in curve.validations]
    levels = [(loss / DOCUMENTED_NEUTRAL, f"{loss:.2f}") for loss in DOCUMENTED_LOSSES]
    return chart.draw([("loss", _smooth(curve)), ("val", validation_points)], "{:.1f}", levels)


def _colorfulness_chart(curve: LossCurve, steps: int) -> list[str]:
    shares = [(validation.step, validation.colorfulness_share) for validation in curve.validations]
    if not shares:
        return []
    chart = _Chart(steps, max(1.2, *(min(share, 2.0) for _, share in shares)))
    return ["<h2>Colorfulness ÷ the originals'</h2>", chart.draw([("val", shares)], "{:.1f}", [(1.0, "1")])]


def _smooth(curve: LossCurve) -> list[tuple[int, float]]:
    """Return (last step, loss ÷ neutral of the same photos) of consecutive windows, at most about `MAX_POINTS`."""
    ratios, neutrals = curve.finite_values(0)
    steps = len(ratios)
    width = max(1, min(WINDOW_STEPS // 2, steps // 20), steps // MAX_POINTS)
    return [
        (end, float(ratios[end - width : end].sum() / max(1e-12, neutrals[end - width : end].sum())))
        for end in range(width, steps + 1, width)
    ]


@dataclass(frozen=True, slots=True)
class _Chart:
    """An SVG chart; x runs from step 0 to `steps`, y from 0 to `top`."""

    steps: int
    top: float

    def draw(
        self,
        lines: Sequence[tuple[str, Sequence[tuple[int, float]]]],
        tick_format: str,
        levels: Sequence[tuple[float, str]] = (),
    ) -> str:
        """Return the chart as HTML.

        Args:
            lines: (CSS class, points) of each line; a point is (step, value).
            tick_format: format of the numbers on the y axis.
            levels: (value, label) of dotted horizontal lines, labeled at the right.
        """
        ticks = [self.top * quarter / 4 for quarter in range(5)]
        marks = [self._horizontal(tick, "grid", tick_format.format(tick)) for tick in ticks]
        marks += [self._horizontal(value, "level", label, WIDTH - 34) for value, label in levels]
        marks += [f'<text x="{WIDTH - 40}" y="{HEIGHT - 4}" text-anchor="end">step {self.steps:,}</text>']
        content = "".join([*marks, *map(self._line, lines)])
        return f'<div class="chart" tabindex="0"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{content}</svg></div>'

    def _horizontal(self, value: float, css_class: str, label: str, text_x: int = 2) -> str:
        y = self._y(value)
        return (
            f'<line class="{css_class}" x1="{LEFT}" x2="{WIDTH - 40}" y1="{y}" y2="{y}"/>'
            f'<text x="{text_x}" y="{y + 4:.1f}">{label}</text>'
        )

    def _line(self, line: tuple[str, Sequence[tuple[int, float]]]) -> str:
        css_class, points = line
        every = max(1, len(points) // MAX_POINTS)
        positions = [(self._x(step), self._y(value)) for step, value in points[::every] if math.isfinite(value)]
        dots = ""
        if css_class == "val":  # there may be only one validation, and a line of one point is invisible
            dots = "".join(f'<circle class="{css_class}" cx="{x}" cy="{y}" r="2.5"/>' for x, y in positions)
        return f'<polyline class="{css_class}" points="{" ".join(f"{x},{y}" for x, y in positions)}"/>{dots}'

    def _x(self, step: int) -> float:
        return round(LEFT + (WIDTH - 40 - LEFT) * step / max(1, self.steps), 1)

    def _y(self, value: float) -> float:
        return round(8 + (HEIGHT - BOTTOM - 8) * (1 - min(value, self.top) / self.top), 1)


def _sample_sheets(run_dir: Path) -> list[str]:
    """Return the sample sheets of up to six steps, including the first and the last."""
    sheets = sorted((run_dir / "samples").glob("step-*.png"))
    if not sheets:
        return []
    shown = {round(index * (len(sheets) - 1) / (MAX_SHEETS - 1)) for index in range(MAX_SHEETS)}
    figures = "".join(_figure(sheets[index]) for index in sorted(shown))
    return ["<h2>Samples over time</h2>", f'<div class="sheets" tabindex="0">{figures}</div>']


def _figure(sheet: Path) -> str:
    step = f"step {int(sheet.stem.removeprefix('step-')):,}"
    with Image.open(sheet) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((SHEET_PX, 3 * SHEET_PX))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    text = base64.b64encode(data.getvalue()).decode("ascii")
    return (
        f'<figure><img src="data:image/jpeg;base64,{text}" alt="gray, predicted and original photos at {step}">'
        f"<figcaption>{step}</figcaption></figure>"
    )
