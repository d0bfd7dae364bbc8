"""Gates: requirements that a measured thing must meet, such as `epsilon<=10,signed,noise=floored-gaussian,tpr@1%<=0.3`.

A number that was measured is an interval, [low, high]: an upper bound has no low end, so that `<=` asks its high
end and `>=` cannot be asked at all. What was not measured is not met. Texts are compared by `=`; a bare name
asks for a fact.

    >>> gates = parse_gates("epsilon<=10,signed,noise=floored-gaussian,tpr@1%<=0.3")
    >>> found = {
    ...     "epsilon": Interval.upper(9.25), "signed": False, "noise": "floored-gaussian",
    ...     "tpr@0.01": Interval.upper(0.3125),
    ... }
    >>> [one.line() for one in judge(gates, found)]  # doctest: +NORMALIZE_WHITESPACE
    ['✓ epsilon<=10: at most 9.2500', '✗ signed: no', '✓ noise=floored-gaussian: floored-gaussian',
     '✗ tpr@1%<=0.3: at most 0.3125']
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from accountant.bound_text import exact_text, lower_text, upper_text
from accountant.errors import InvalidValue

_FORM = re.compile(r"([a-z0-9][a-z0-9_.-]*)(?:@([^<>=@]+))?(?:(<=|>=|=)(.+))?", re.IGNORECASE)
EXAMPLE = "epsilon<=10,signed,noise=floored-gaussian,tpr@1%<=0.3"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A number that is known to lie in [low, high]; None where there is no such bound."""

    low: float | None
    high: float | None

    @classmethod
    def upper(cls, bound: float) -> Interval:
        """What is known to be at most so much."""
        return cls(low=None, high=bound)

    @classmethod
    def exactly(cls, value: float) -> Interval:
        """A number that is known."""
        return cls(low=value, high=value)

    def text(self, relation: str) -> str:
        """As a gate of that relation sees it, rounded against it."""
        if relation == "<=":
            if self.high is None:
                return "no upper bound is known"
            exact = self.low == self.high
            return exact_text(self.high) if exact else f"at most {upper_text(self.high)}"
        if self.low is None:
            return "no lower bound is known"
        return exact_text(self.low) if self.low == self.high else f"at least {lower_text(self.low)}"


# A bool is a fact, a str a statement; None is what could not be measured.
Measured = Interval | str | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """One requirement.

    Args:
        text: as it was written. name: of what is measured, with `@` and a rate in digits (`tpr@0.01`) or a word.
        relation: "<=", ">=", "=" or "" for a fact. limit: a finite number, or the text after "=".
    """

    text: str
    name: str
    relation: str
    limit: float | str


class JudgedJson(TypedDict):
    """A gate and whether it was met."""

    gate: str
    met: bool
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A gate as it was written, whether it was met, and what was found in a few words."""

    gate: str
    met: bool
    found: str

    def line(self) -> str:
        """For a person."""
        return f"{'✓' if self.met else '✗'} {self.gate}: {self.found}"

    def to_json(self) -> JudgedJson:
        """For a script."""
        return {"gate": self.gate, "met": self.met, "found": self.found}


def parse_gates(text: str) -> tuple[Gate, ...]:
    """Gates with commas between them.

    Raises:
        InvalidValue: none at all, or one that is not of the form.
    """
    parts = [part.strip() for part in text.split(",")]
    return tuple(parse_gate(part) for part in parts)


def parse_gate(text: str) -> Gate:
    """One gate.

    Raises:
        InvalidValue: it is not of the form.
    """
    match = _FORM.fullmatch(re.sub(r"\s*(<=|>=|=)\s*", r"\1", text.strip(), count=1))
    if match is None:
        raise InvalidValue(f"Expected a gate {text!r} like one of {EXAMPLE}; write <= or >=, and one gate at a time.")
    name, at, relation, limit = match.groups()
    whole = name.lower() if at is None else f"{name.lower()}@{_place(at.strip(), text)}"
    wanted = limit if relation in (None, "=") else _number(limit, text)
    return Gate(text=text.strip(), name=whole, relation=relation or "", limit=wanted or 0.0)


def _place(at: str, gate: str) -> str:
    """`1%` and `0.01` as one rate; a word as it is."""
    percent = at.endswith("%")
    try:
        value = float(at.removesuffix("%"))
    except ValueError as error:
        if percent:
            raise InvalidValue(f"Expected a rate such as 1% in the gate {gate!r}.") from error
        return at.lower()
    return f"{value / 100 if percent else value:g}"


def _number(limit: str, gate: str) -> float:
    percent = limit.endswith("%")
    try:
        value = float(limit.removesuffix("%"))
    except ValueError as error:
        raise InvalidValue(f"Expected a number after <= or >= in the gate {gate!r}.") from error
    if not math.isfinite(value):
        raise InvalidValue(f"Expected a finite number in the gate {gate!r}: what is asked for must exclude something.")
    return value / 100 if percent else value


def require_known(gates: Iterable[Gate], kinds: Mapping[str, str]) -> None:
    """Refuse gates that no measurement could answer.

    Args:
        kinds: of every name that can be measured: "upper", "number", "text" or "fact"; `metric.*` stands for all
            names that begin with `metric.`.

    Raises:
        InvalidValue: a name that is not there, or a relation that says nothing of its kind.
    """
    allowed = {"upper": ("<=",), "number": ("<=", ">="), "text": ("=",), "fact": ("",)}
    for gate in gates:
        kind = kinds.get(gate.name) or kinds.get(f"{gate.name.split('.')[0]}.*" if "." in gate.name else "")
        if kind is None:
            raise InvalidValue(f"Nothing measures the gate {gate.text!r}; known are: {', '.join(kinds)}.")
        relations = allowed[kind]
        if gate.relation not in relations:
            how = " or ".join(f"{gate.name}{relation}…" if relation else gate.name for relation in relations)
            why = "an upper bound, of which only <= can be known" if kind == "upper" else f"a {kind}"
            raise InvalidValue(f"The gate {gate.text!r} asks what cannot be known; {gate.name} is {why}: write {how}.")


def judge(gates: Iterable[Gate], found: Mapping[str, Measured]) -> tuple[Judged, ...]:
    """Each gate against what was found; what is missing is not met."""
    return tuple(_judged(gate, found.get(gate.name)) for gate in gates)


def _judged(gate: Gate, found: Measured) -> Judged:
    if found is None:
        return Judged(gate=gate.text, met=False, found="was not measured")
    if isinstance(found, bool):
        return Judged(gate=gate.text, met=found and gate.relation == "", found="yes" if found else "no")
    if isinstance(found, str):
        return Judged(gate=gate.text, met=gate.relation == "=" and found == gate.limit, found=found)
    return Judged(gate=gate.text, met=_within(gate, found), found=found.text(gate.relation))


def _within(gate: Gate, found: Interval) -> bool:
    if not isinstance(gate.limit, float):
        return False
    if gate.relation == "<=":
        # NaN and ∞ are within nothing.
        return found.high is not None and found.high <= gate.limit
    return gate.relation == ">=" and found.low is not None and found.low >= gate.limit
