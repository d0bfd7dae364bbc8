"""The report's figures: a chart, a caption and the plotted numbers each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from accountant.audit.audit import Audit, claimed_segments
from accountant.audit.epsilon_curves import DeltaPoint, StepPoint, delta_over_epsilon, epsilon_over_steps
from accountant.bound_text import exact_text, upper_text
from accountant.budget import Budget
from accountant.ledger.state import LedgerState
from privgen.report.charts import Bar, Point, Series, bar_chart, line_chart, linear_axis, log_axis
from privgen.report.content import split_of
from privgen.report.document import Table
from privgen.report.text import plain

_HEADROOM = 1.04


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A chart and the section it belongs to.

    Args:
        section: the section's key. svg: the chart, escaped. caption: what it shows. numbers: the same as a table.
    """

    section: str
    svg: Markup
    caption: str
    numbers: Table


def figures_of(audit: Audit) -> tuple[Figure, ...]:
    """All figures of an audit; none if nothing was charged.

    They take about sixteen compositions by PRV, eight for the published feedback: see
    `accountant.audit.epsilon_curves` for what that costs.
    """
    state = audit.state
    if state is None or audit.spent is None or not state.steps_charged or not math.isfinite(audit.spent.epsilon):
        return ()
    parts = (_parts(audit),) if audit.shares else ()
    return (_over_steps(state), _over_epsilon(state), *parts)


def _over_steps(state: LedgerState) -> Figure:
    budget, segments = state.budget, state.segments
    curve = epsilon_over_steps(segments, budget)
    rdp, prv = _steps(curve.rdp), _steps(curve.prv)
    last = state.steps_charged
    end = last if state.plan is None else max(last, state.plan.steps)
    series = [
        Series(label="RDP, upper bound", style="rdp", points=rdp, steps=True),
        Series(label="PRV, upper bound", style="prv", points=prv, marked=True),
        Series(label=_promised(budget), style="target", points=((0, budget.epsilon), (end, budget.epsilon))),
    ]
    claimed = claimed_segments(state)
    if claimed:
        points = _steps(epsilon_over_steps(claimed, budget).rdp)
        series.append(Series(label="claimed, not a bound", style="claimed", points=points))
    values = [value for line in series for _, value in line.points]
    summary = f"After {last} steps ε is at most {upper_text(rdp[-1][1] if rdp else math.inf)} by RDP"
    summary += f" and {upper_text(prv[-1][1])} by PRV; {_promised(budget)}." if prv else f"; {_promised(budget)}."
    svg = line_chart(
        key="steps-chart",
        title="ε over steps",
        summary=summary,
        x=linear_axis("steps charged", [end]),
        y=linear_axis(f"ε at δ = {exact_text(budget.delta)}", [_HEADROOM * value for value in values]),
        series=series,
    )
    caption = f"How the spend grew. PRV was computed at {len(prv)} points; the line between them only guides the eye."
    by_prv = {point.step: upper_text(point.epsilon) for point in curve.prv}
    few = [point for point in curve.rdp if point.step in by_prv] or list(curve.rdp[-1:])
    rows = tuple((str(p.step), upper_text(p.epsilon), by_prv.get(p.step, "not computed")) for p in few)
    table = Table(caption="ε over steps", head=("steps", "ε ≤, by RDP", "ε ≤, by PRV"), rows=rows)
    return Figure(section="curves", svg=svg, caption=caption, numbers=table)


def _over_epsilon(state: LedgerState) -> Figure:
    budget = state.budget
    curve = delta_over_epsilon(state.segments, budget)
    rdp, prv = _deltas(curve.rdp), _deltas(curve.prv)
    promised = ((budget.epsilon, budget.delta),)
    points = [*rdp, *prv, *promised]
    svg = line_chart(
        key="delta-chart",
        title="δ over ε",
        summary=f"What was charged is (ε, δ)-differentially private at every computed point; {_promised(budget)}.",
        x=linear_axis("ε", [_HEADROOM * epsilon for epsilon, _ in points]),
        y=log_axis("δ", [delta for _, delta in points]),
        series=[
            Series(label="RDP, upper bound", style="rdp", points=rdp),
            Series(label="PRV, upper bound", style="prv", points=prv, marked=True),
            Series(label=_promised(budget), style="target", points=promised, marked=True),
        ],
    )
    caption = (
        f"One run has many guarantees: it is (ε, δ)-differentially private at each of the {len(prv)} dots by PRV and "
        f"the {len(rdp)} points by RDP; the lines between them only guide the eye."
    )
    rows = tuple((f"{p.delta:.3g}", upper_text(p.epsilon)) for p in curve.prv or curve.rdp[::8])
    table = Table(caption="δ over ε", head=("δ", f"ε ≤, by {'PRV' if curve.prv else 'RDP'}"), rows=rows)
    return Figure(section="curves", svg=svg, caption=caption, numbers=table)


def _parts(audit: Audit) -> Figure:
    split = all(share.feedback is not None for share in audit.shares)
    bars = [
        Bar(
            label=f"{plain(share.name)}: {share.share:.1%}",
            first=share.share - (share.feedback or 0.0),
            second=share.feedback or 0.0,
        )
        for share in audit.shares
    ]
    shown = ", ".join(bar.label for bar in bars)
    fed = split and any(bar.second for bar in bars)
    svg = bar_chart(
        key="parts-chart",
        title="Spend by part",
        summary=f"Shares of the cost of a step: {shown}.",
        bars=bars,
        legend=("clipped gradients", "error fed back") if fed else None,
    )
    rows = tuple((plain(share.name), f"{share.share:.1%}", *split_of(share)) for share in audit.shares)
    head = ("part", "share", "by clipped gradients", "by feedback")
    table = Table(caption="Spend by part", head=head, rows=rows)
    return Figure(section="parts", svg=svg, caption="Each part's share of the cost of a step.", numbers=table)


def _promised(budget: Budget) -> str:
    return f"promised ε = {exact_text(budget.epsilon)}"


def _steps(points: Iterable[StepPoint]) -> tuple[Point, ...]:
    return tuple((point.step, point.epsilon) for point in points if math.isfinite(point.epsilon))


def _deltas(points: Iterable[DeltaPoint]) -> tuple[Point, ...]:
    """In ascending order of ε, for the curve begins at its largest δ."""
    return tuple((point.epsilon, point.delta) for point in points)
