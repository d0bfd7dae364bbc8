"""Risk in words people know, once for all formats: what an (ε, δ) promises, and what an attacker could at best reach.

Every figure is an upper bound and is printed rounded up (`accountant.audit.risk`); μ alone is a description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from accountant.audit.risk import FALSE_POSITIVE_RATES, PRIORS, Risk, Risks
from accountant.bound_text import exact_text, upper_percent
from privgen.report.document import Paragraph, Section, Table
from privgen.report.text import plain

# From here on a warning, and from there on a request for consent (`privgen plan`).
WEAK, VERY_WEAK = 10.0, 20.0
# Up to here a verdict that passed may be shown as good news.
STRONG = 1.0
_NAMED_RATE, _NAMED_PRIOR = 0.01, 0.5
_LARGEST_FACTOR = 1e15
# With so many of the members found the sentence says so.
_MOST = 0.95
_HEAD = (
    "records",
    *(f"at {rate * 100:g} %" for rate in FALSE_POSITIVE_RATES),
    "advantage",
    *(f"from {prior * 100:g} %" for prior in PRIORS),
)
CAPTION = "At most: records that any attack identifies, by its rate of false alarms; advantage; certainty from a prior"


def in_words(risks: Risks, *, epsilon: float, delta: float) -> str:
    """Two sentences: what this (ε, δ) promises, and what an attacker could at best reach.

    Args:
        risks: of what is released. epsilon: an upper bound, >= 0, may be infinite. delta: in (0, 1).
    """
    one = risks.one
    found, belief = one.tpr[_NAMED_RATE], one.posterior[_NAMED_PRIOR]
    reach = (
        "An attacker who knows everything except whether one record was used identifies at most "
        f"{upper_percent(found)} of the used records while falsely accusing {100 * _NAMED_RATE:g} % of the others, and "
        f"becomes, from even odds, at most {upper_percent(belief)} sure (except with probability {one.exceptions:g})"
    )
    return f"{_promise(epsilon, delta)} {reach}{': that is hardly any protection.' if found > _MOST else '.'}"


def _promise(epsilon: float, delta: float) -> str:
    """What (ε, δ) says, in a sentence."""
    if epsilon == 0:
        return f"Including one record changes the probability of any outcome by at most {exact_text(delta)}."
    return (
        f"Including one record makes any outcome at most {_factor(epsilon)} as likely or as unlikely, except with "
        f"probability {exact_text(delta)}."
    )


def _factor(epsilon: float) -> str:
    """e^ε in words, rounded up to three digits."""
    if not epsilon <= math.log(_LARGEST_FACTOR):
        return f"e^({epsilon:g}) times"
    factor = math.exp(epsilon)
    unit = 10.0 ** (math.floor(math.log10(factor)) - 2)
    rounded = math.ceil(factor / unit) * unit
    return f"{rounded:,.0f} times" if rounded >= 1000 else f"{rounded:.3g} times"


def weakness(epsilon: float) -> str | None:
    """What is to be said of an ε that is too large to promise much, or None."""
    if epsilon <= WEAK:
        return None
    kind = "a weak promise"
    if epsilon > VERY_WEAK:
        kind = "a very weak promise" if epsilon < math.log(_LARGEST_FACTOR) else "no promise"
    return (
        f"ε = {exact_text(epsilon)} is {kind}: one record may make an outcome {_factor(epsilon)} as likely. "
        "For data about people, 1 to 3 are strong, and up to 10 is usual."
    )


def risk_rows(risks: Risks) -> tuple[tuple[str, ...], ...]:
    """One row for a single record, and one for each group; the columns are `risk_head`'s."""
    return tuple(_row(risk) for risk in (risks.one, *risks.groups))


def risk_head() -> tuple[str, ...]:
    """Headings of `risk_rows`."""
    return _HEAD


def _row(risk: Risk) -> tuple[str, ...]:
    return (
        str(risk.group_size),
        *(upper_percent(rate) for rate in risk.tpr.values()),
        upper_percent(risk.advantage),
        *(upper_percent(belief) for belief in risk.posterior.values()),
    )


def how_to_read(risks: Risks) -> str:
    """What the table's columns mean, and what Gaussian it looks like."""
    one = risks.one
    likeness = (
        ""
        if one.mu is None or one.mu_distance is None
        else f" The curve looks like that of one Gaussian release with μ = {one.mu:.2f} (a description, within "
        f"{upper_percent(one.mu_distance)}; nothing is spent by it)."
    )
    return (
        "Upper bounds for any attack: the share of used records that it identifies at that rate of false accusations; "
        "the largest difference between the two rates; and how sure anybody can become who began with that belief, "
        f"except with probability {one.exceptions:g}. Rows of several records are for a person who contributed as "
        f"many.{likeness}"
    )


def risk_section(risks: Risks, *, epsilon: float, delta: float) -> Section:
    """The two sentences and the table."""
    table = Table(caption=CAPTION, head=risk_head(), rows=risk_rows(risks))
    words = Paragraph(text=in_words(risks, epsilon=epsilon, delta=delta))
    return Section(key="risk", title="What this means", blocks=(words, table, Paragraph(text=how_to_read(risks))))


class Roc(Protocol):
    """A curve of rates that an attack reached."""

    def true_positive_rate(self, most: float) -> float:
        """At a false-positive rate of at most so much."""


class Reached(Protocol):
    """An attack on a generator, and what it reached."""

    @property
    def what(self) -> str:
        """Whom it tells apart."""

    @property
    def roc(self) -> Roc:
        """Its curve."""


def reached_section(risks: Risks, memberships: Sequence[Reached]) -> Section:
    """What the attacks on this run's generator found, beside what any attack could.

    Args:
        memberships: that may be shown where the section is.
    """
    rows = tuple(
        (
            f"{plain(one.what)}, at {rate * 100:g} % false alarms",
            f"{one.roc.true_positive_rate(rate):.2%}",
            f"at most {upper_percent(risks.one.tpr[rate])}",
        )
        for one in memberships
        for rate in FALSE_POSITIVE_RATES
    )
    table = Table(caption="Reached and possible", head=("attack", "found", "any attack"), rows=rows)
    text = "One run's membership inference beside the bound; an attack that finds little proves nothing."
    return Section(key="reached", title="What these attacks reached", blocks=(Paragraph(text=text), table))
