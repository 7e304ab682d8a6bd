"""The plots as inline SVG. Text and axes take the page's colour: readable on dark and light."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from itertools import groupby

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from prober.samples import Sample
from rollout.report.inputs import Failover
from rollout.report.model import Report
from rollout.report.raw import Read
from rollout.triggers import OPERATIONS

# Drawn in this colour, replaced by the page's own.
_INK = "#010203"
_BASELINE, _CANARY = "#4c8fd6", "#e08a1e"
_VERDICT = {"pass": "#2e9e5b", "fail": "#d9534f", "none": "#8a8f98"}
_BINS = 120


def plots(report: Report, read: Read) -> dict[str, str]:
    """Title -> SVG. A plot without data is left out; its claims say that nothing was measured."""
    baseline, canary = read.samples_of("baseline"), read.samples_of("canary")
    drawn = {
        "Latency before and after (share of operations that took at most so long)": _latency(baseline, canary),
        "Canary against baseline (per cent worse; beyond the line a trigger fires)": _comparison(report),
        "Time without an acknowledged write at each failover": _gaps(report.failovers),
        "Soak coverage (share of each slice of time with passing samples)": _soak(read),
    }
    return {title: svg for title, svg in drawn.items() if svg}


def _latency(baseline: Sequence[Sample], canary: Sequence[Sample]) -> str:
    if not (baseline and canary):
        return ""
    figure, axes = _figure(len(OPERATIONS))
    for axis, operation in zip(axes, OPERATIONS, strict=True):
        for name, samples, colour in (("baseline", baseline, _BASELINE), ("canary", canary, _CANARY)):
            values = sorted(s.latency_ms for s in samples if s.operation == operation and s.latency_ms is not None)
            if values:
                # A few hundred points draw the same line as a million.
                step = max(1, len(values) // 400)
                shares = [100 * (number + 1) / len(values) for number in range(len(values))]
                axis.plot(values[::step], shares[::step], color=colour, label=name, linewidth=1.8)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(operation, fontsize=10, color=_INK)
        axis.set_xlabel("ms")
    axes[0].set_ylabel("% of operations")
    axes[0].legend(frameon=False, labelcolor=_INK)
    return _svg(figure, "latency")


def _comparison(report: Report) -> str:
    claims = [c for c in report.claims if c.measured is not None and c.measured.unit == "% worse"]
    if not claims:
        return ""
    figure, (axis,) = _figure(1)
    names = [claim.id.removeprefix("trigger.").replace("-", " ") for claim in claims]
    values = [claim.measured.value for claim in claims if claim.measured is not None]
    colours = [_VERDICT.get(claim.verdict, _VERDICT["none"]) for claim in claims]
    axis.barh(names, values, color=colours, height=0.55)
    axis.axvline(0, color=_INK, linewidth=0.8)
    axis.axvline(claims[0].threshold.value, color=_VERDICT["fail"], linestyle="--", linewidth=1.2)
    axis.invert_yaxis()
    axis.set_xlabel("% worse than the baseline")
    return _svg(figure, "comparison")


def _gaps(failovers: Sequence[Failover]) -> str:
    if not failovers:
        return ""
    figure, (axis,) = _figure(1)
    names = [f"{number}. {each.phase}, {each.kind}" for number, each in enumerate(failovers, start=1)]
    colours = [_BASELINE if each.kind == "planned" else _CANARY for each in failovers]
    axis.barh(names, [each.gap_ms for each in failovers], color=colours, height=0.55)
    for row, each in enumerate(failovers):
        axis.annotate(
            f"{each.gap_ms:.0f} ms, {each.lost} lost",
            (each.gap_ms, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
        )
    axis.margins(x=0.25)
    axis.invert_yaxis()
    axis.set_xlabel("ms")
    return _svg(figure, "gaps")


def _soak(read: Read) -> str:
    by_phase = {
        phase: [sample for _, part in group for sample in part]
        for phase, group in groupby(
            ((given, part) for given, part in read.samples if given.kind == "soak"), lambda item: item[0].phase
        )
    }
    by_phase = {phase: samples for phase, samples in by_phase.items() if samples}
    if not by_phase:
        return ""
    figure, axes = _figure(len(by_phase), stacked=True)
    for axis, (phase, samples) in zip(axes, by_phase.items(), strict=True):
        _coverage(axis, samples)
        axis.set_ylabel(phase, rotation=0, ha="right", va="center")
    axes[-1].set_xlabel("minutes since the phase's first sample; red: failed, grey: no sample")
    return _svg(figure, "soak")


def _coverage(axis: Axes, samples: Sequence[Sample]) -> None:
    first = samples[0].wall
    minutes = [(sample.wall - first).total_seconds() / 60 for sample in samples]
    length = max(max(minutes), 1 / 60)
    width = length / _BINS
    passed, tried = [0] * _BINS, [0] * _BINS
    for minute, sample in zip(minutes, samples, strict=True):
        number = min(_BINS - 1, max(0, int(minute / width)))
        tried[number] += 1
        passed[number] += sample.ok
    left = [number * width for number in range(_BINS)]
    good = [a / b if b else 0.0 for a, b in zip(passed, tried, strict=True)]
    # A few failures among many samples would be thinner than a pixel.
    red = [max(1 - share, 0.12) if b and share < 1 else 0.0 for share, b in zip(good, tried, strict=True)]
    # Neighbours overlap a little, else a browser shows a hair line between them.
    layers = (
        ([0.0 if b else 1.0 for b in tried], 0.0, _VERDICT["none"]),
        ([1 - r if b else 0.0 for r, b in zip(red, tried, strict=True)], 0.0, _VERDICT["pass"]),
        (red, [1 - r for r in red], _VERDICT["fail"]),
    )
    for heights, bottom, colour in layers:
        axis.bar(left, heights, 1.1 * width, bottom=bottom, align="edge", color=colour)
    axis.set_ylim(0, 1)
    axis.set_xlim(0, length)
    axis.set_yticks([])


def _figure(count: int, *, stacked: bool = False) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8.4, 0.6 + 0.75 * count if stacked else 2.9), layout="constrained")
    grid = figure.subplots(count if stacked else 1, 1 if stacked else count, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for axis in axes:
        axis.set_facecolor("none")
        axis.tick_params(colors=_INK, labelsize=9)
        axis.xaxis.label.set_color(_INK)
        axis.yaxis.label.set_color(_INK)
        for name, spine in axis.spines.items():
            spine.set_color(_INK)
            spine.set_visible(name in ("left", "bottom"))
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    """`name` keeps the ids of several plots on one page apart."""
    figure.patch.set_alpha(0)
    out = StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "text.color": _INK, "font.family": "sans-serif"}
    with mpl.rc_context(settings):  # type: ignore[arg-type]  # its keys are literals in the stubs
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%" role="img"', svg, count=1)
