"""From finished runs to rows: runs that differ in their seed alone, their means and spreads, and columns of tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from accountant.bound_text import upper_text
from privgen.experiments.gan_trials.trial import GanTrial
from privgen.experiments.markdown import markdown_table
from privgen.experiments.records import Finished
from privgen.experiments.spread import Spread, difference


@dataclass(frozen=True, kw_only=True, slots=True)
class GanGroup:
    """Runs that differ only in their seed."""

    trial: GanTrial
    finished: tuple[Finished[GanTrial], ...]

    def of(self, value: Callable[[Finished[GanTrial]], float]) -> Spread:
        """The spread of a number of each run."""
        return Spread.of(value(one) for one in self.finished)

    def measured(self, name: str) -> Spread | None:
        """The spread of a measure, or None where it was not taken."""
        if any(name not in one.result["measures"] for one in self.finished):
            return None
        return self.of(lambda one: float(one.result["measures"][name]))

    def curve(self, name: str) -> list[tuple[int, Spread]]:
        """A curve over the steps; runs of unequal length as far as all go."""
        columns = zip(*(one.result["curves"][name] for one in self.finished), strict=False)
        return [(int(column[0][0]), Spread.of(point[1] for point in column)) for column in columns]


def gan_groups(finished: Sequence[Finished[GanTrial]]) -> list[GanGroup]:
    """All groups, in the order of training."""
    found: dict[str, list[Finished[GanTrial]]] = {}
    for one in finished:
        found.setdefault(repr(one.trial.with_seed(0)), []).append(one)
    return [GanGroup(trial=ones[0].trial.with_seed(0), finished=tuple(ones)) for ones in found.values()]


Column = Callable[[GanGroup], str]
# A measure's heading, and its digits.
MEASURES: dict[str, tuple[str, int]] = {
    "gen2real": ("gen2real %", 1),
    "fid": ("FID", 1),
    "is": ("IS", 2),
    "precision": ("precision %", 1),
    "recall": ("recall %", 1),
    "coverage": ("coverage %", 1),
    "spread": ("spread within a class", 1),
    "reconstruction pixels": ("G(E(x)) to x, pixels", 1),
    "other pixels": ("another of its class, pixels", 1),
    "reconstruction imagenet": ("G(E(x)) to x, ImageNet", 2),
    "other imagenet": ("another of its class, ImageNet", 2),
}


def measure(name: str) -> dict[str, Column]:
    """A column of a measure: mean ± standard deviation."""
    heading, digits = MEASURES[name]

    def cell(group: GanGroup) -> str:
        found = group.measured(name)
        return "–" if found is None else found.text(digits)

    return {heading: cell}


def gain(name: str, base: Callable[[GanGroup], GanGroup | None], against: str) -> dict[str, Column]:
    """A column of a measure less that of another group: ± its standard error, bold beyond what seeds scatter."""
    heading, digits = MEASURES[name]

    def cell(group: GanGroup) -> str:
        other = base(group)
        if other is None or other is group:
            return "–"
        mine, theirs = group.measured(name), other.measured(name)
        return "–" if mine is None or theirs is None else difference(mine, theirs).text(digits)

    return {f"{heading.removesuffix(' %')} − {against}": cell}


def about() -> dict[str, Column]:
    """Columns that every table has first."""
    return {
        "data": lambda g: g.trial.dataset,
        "ε certified": lambda g: upper_text(max(one.result["certified"] for one in g.finished)),
        "variant": lambda g: g.trial.variant,
    }


def cost() -> dict[str, Column]:
    """Columns that every table has last."""
    return {
        "critic's z": lambda g: f"{g.finished[0].result['noise'].get('critic', 0.0):.3g}",
        "CPU s": lambda g: f"{g.of(lambda one: one.result['seconds']).mean:.0f}",
        "seeds": lambda g: str(len(g.finished)),
    }


def gan_table(groups: Sequence[GanGroup], columns: Mapping[str, Column]) -> str:
    """A Markdown table with a row for each group."""
    return markdown_table({name: [column(group) for group in groups] for name, column in columns.items()})


def named(groups: Sequence[GanGroup], variant: str, like: GanGroup) -> GanGroup | None:
    """The group of this variant with the same data set, ε and steps, if it was run."""
    own = like.trial
    same = [
        g for g in groups
        if g.trial.variant == variant
        and (g.trial.dataset, g.trial.epsilon, g.trial.iterations) == (own.dataset, own.epsilon, own.iterations)
    ]  # fmt: skip
    return same[0] if same else None
