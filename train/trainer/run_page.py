"""One self-contained page a run: curves, findings in words, and the sample grid over time."""

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
MOST_POINTS = 400
MOST_SHEETS = 6
SHEET_PX = 320
"""Six sheets of this width as JPEG are about 300 KB."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #667079; --line: #d9dee2; --back: #fff; --card: #f5f7f8;
  --loss: #1f6fb2; --held: #c2410c; --rung: #2f855a; --bad: #b42318 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4ad; --line: #39424a; --back: #14181b;
  --card: #1d2327; --loss: #6cb2ee; --held: #f59e6b; --rung: #6fcf97; --bad: #ff8a80 } }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: .5rem 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .25rem }
p { margin: .25rem 0 .75rem } .soft, figcaption { color: var(--soft); font-size: .875rem }
.chart { overflow-x: auto } svg { width: 100%; min-width: 36rem; height: auto; display: block }
svg text { fill: var(--soft); font-size: 12px }
.grid { stroke: var(--line) } .rung { stroke: var(--rung); stroke-dasharray: 2 4 } polyline { fill: none }
.loss { stroke: var(--loss); stroke-width: 2 } .held { stroke: var(--held); stroke-width: 2 }
circle.held { fill: var(--held) }
.finding { border-left: 4px solid var(--bad); background: var(--card); padding: .5rem .75rem; margin: .5rem 0 }
.sheets { display: flex; gap: 1rem; overflow-x: auto } figure { margin: 0 0 .5rem; flex: 0 0 min(24rem, 85%) }
figure img { width: 100%; height: auto; display: block }
.key { display: inline-block; width: 1rem; height: .2rem; vertical-align: middle; margin: 0 .3rem 0 .6rem }
"""
KEY = (
    '<p class="soft"><span class="key" style="background:var(--loss)"></span>training, smoothed'
    '<span class="key" style="background:var(--held)"></span>held-out photos'
    '<span class="key" style="background:var(--rung)"></span>the documented ladder</p>'
)


def write(
    folder: Path, trace: LossCurve, rates: Sequence[float], findings: Sequence[Finding], rescues: Sequence[Rollback]
) -> None:
    """Write run.html into a run's folder, whole or not at all; it needs no other file and no network."""
    write_atomic(render(folder, trace, rates, findings, rescues).encode(), folder / "run.html")


def render(
    folder: Path, trace: LossCurve, rates: Sequence[float], findings: Sequence[Finding], rescues: Sequence[Rollback]
) -> str:
    """The page as text.

    Args:
        folder: the run's, whose samples/ are shown.
        trace: losses and validations so far.
        rates: learning rate of every step.
        findings: so far.
        rescues: so far.
    """
    name, steps = escape(folder.resolve().name), len(trace.ratios)
    parts = [
        f"<h1>{name}</h1>",
        f"<p>{pluralize(steps, 'step')}, ending {describe_ending(trace.ratios, trace.neutrals)}.</p>",
        *_trouble(findings, rescues, steps - trace.first_step),
        *(f"<p>{escape(validation.warning)}.</p>" for validation in trace.validations[-1:] if validation.warning),
        "<h2>Loss ÷ neutral</h2>",
        KEY,
        _loss_chart(trace),
        "<h2>Learning rate</h2>",
        _Chart(steps, max([*rates, 1e-12])).draw([("loss", list(enumerate(rates, 1)))], "{:.2g}"),
        *_colorfulness(trace, steps),
        *_sheets(folder),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{name}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _trouble(findings: Sequence[Finding], rescues: Sequence[Rollback], steps: int) -> list[str]:
    said = [
        f"<div class='finding'><b>{escape(finding.kind)}</b> at step {finding.step:,}: {escape(finding.evidence)}."
        f"<br>What to do: {escape(finding.remedy)}.</div>"
        for finding in findings
    ]
    said += [
        f"<p>Rescued: {escape(done.kind)} at step {done.found_step:,}; back to step {done.from_step:,}, lr "
        f"{done.lr:.0e}, batch {done.batch_size}.</p>"
        for done in rescues
    ]
    return said or [f"<p>{summarize_findings(findings, steps).capitalize()}.</p>"]


def _loss_chart(trace: LossCurve) -> str:
    chart = _Chart(len(trace.ratios), 1.2)
    held = [(seen.step, seen.ratio) for seen in trace.validations]
    rungs = [(rung / DOCUMENTED_NEUTRAL, f"{rung:.2f}") for rung in DOCUMENTED_LOSSES]
    return chart.draw([("loss", _smooth(trace)), ("held", held)], "{:.1f}", rungs)


def _colorfulness(trace: LossCurve, steps: int) -> list[str]:
    shares = [(seen.step, seen.colorfulness_share) for seen in trace.validations]
    if not shares:
        return []
    chart = _Chart(steps, max(1.2, *(min(share, 2.0) for _, share in shares)))
    return ["<h2>Colourfulness ÷ the originals'</h2>", chart.draw([("held", shares)], "{:.1f}", [(1.0, "1")])]


def _smooth(trace: LossCurve) -> list[tuple[int, float]]:
    """Stretches' losses over what gray costs on their photos, at most `MOST_POINTS` of them, each at its last step."""
    ratios, neutrals = trace.finite_values(0)
    steps = len(ratios)
    stretch = max(1, min(WINDOW_STEPS // 2, steps // 20), steps // MOST_POINTS)
    ends = range(stretch, steps + 1, stretch)
    return [
        (end, float(ratios[end - stretch : end].sum() / max(1e-12, neutrals[end - stretch : end].sum())))
        for end in ends
    ]


@dataclass(frozen=True, slots=True)
class _Chart:
    """A frame from step 0 to the last, and from 0 to the highest value."""

    steps: int
    top: float

    def draw(
        self,
        lines: Sequence[tuple[str, Sequence[tuple[int, float]]]],
        form: str,
        rungs: Sequence[tuple[float, str]] = (),
    ) -> str:
        """An SVG of (class, points) lines, with dotted rungs that are named at the right."""
        marks = [self._across(self.top * part / 4, "grid", form.format(self.top * part / 4)) for part in range(5)]
        marks += [self._across(value, "rung", name, WIDTH - 34) for value, name in rungs]
        marks += [f'<text x="{WIDTH - 40}" y="{HEIGHT - 4}" text-anchor="end">step {self.steps:,}</text>']
        drawn = "".join([*marks, *map(self._line, lines)])
        return f'<div class="chart" tabindex="0"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{drawn}</svg></div>'

    def _across(self, value: float, kind: str, name: str, text_x: int = 2) -> str:
        y = self._y(value)
        return (
            f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - 40}" y1="{y}" y2="{y}"/>'
            f'<text x="{text_x}" y="{y + 4:.1f}">{name}</text>'
        )

    def _line(self, line: tuple[str, Sequence[tuple[int, float]]]) -> str:
        kind, points = line
        every = max(1, len(points) // MOST_POINTS)
        spots = [(self._x(step), self._y(value)) for step, value in points[::every] if math.isfinite(value)]
        dots = "".join(f'<circle class="{kind}" cx="{x}" cy="{y}" r="2.5"/>' for x, y in spots if kind == "held")
        return f'<polyline class="{kind}" points="{" ".join(f"{x},{y}" for x, y in spots)}"/>{dots}'

    def _x(self, step: int) -> float:
        return round(LEFT + (WIDTH - 40 - LEFT) * step / max(1, self.steps), 1)

    def _y(self, value: float) -> float:
        return round(8 + (HEIGHT - BOTTOM - 8) * (1 - min(value, self.top) / self.top), 1)


def _sheets(folder: Path) -> list[str]:
    """The sample grids of up to six steps, first and last among them."""
    sheets = sorted((folder / "samples").glob("step-*.png"))
    if not sheets:
        return []
    places = {round(place * (len(sheets) - 1) / (MOST_SHEETS - 1)) for place in range(MOST_SHEETS)}
    figures = "".join(_figure(sheets[place]) for place in sorted(places))
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
