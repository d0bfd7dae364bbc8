"""What gates can ask of an audited run (`privgen audit --require`): names, and what this audit found for each.

Whatever is an upper bound (ε, rates, beliefs) can only be asked to be at most something; `found` gives that bound.
A gate on a failed audit would be met by numbers that nobody should believe: `judge_audit` puts the verdict first.
"""

from __future__ import annotations

from collections.abc import Iterable

from accountant.audit.audit import Audit
from accountant.audit.checks import PASSED
from accountant.audit.risk import FALSE_POSITIVE_RATES, GROUP_SIZES, PRIORS, Risk
from accountant.gates import Gate, Interval, Judged, Measured, judge
from accountant.ledger.state import LedgerState
from accountant.ledger.writers import writer_of


def _risk_names(suffix: str) -> tuple[str, ...]:
    rates = (f"tpr{suffix}@{rate:g}" for rate in FALSE_POSITIVE_RATES)
    priors = (f"posterior{suffix}@{prior:g}" for prior in PRIORS)
    return (*rates, f"advantage{suffix}", *priors)


def _suffix(group_size: int) -> str:
    """Of one record nothing; `tpr-5@1%` is of five together."""
    return "" if group_size == 1 else f"-{group_size}"


# Name and kind of everything that can be asked.
AUDIT_GATES: dict[str, str] = {
    "epsilon": "upper",
    "delta": "number",
    **{name: "upper" for size in GROUP_SIZES for name in _risk_names(_suffix(size))},
    "weights": "number",
    "signed": "fact",
    "halted": "fact",
    "anchored": "fact",
    "passed": "fact",
    "noise": "text",
    "sampling": "text",
    "neighbouring": "text",
    "feedback": "text",
    "writer": "text",
    "unit": "text",
    "dataset": "text",
}


def judge_audit(gates: Iterable[Gate], audit: Audit) -> tuple[Judged, ...]:
    """The verdict, which may not be failed, and then each gate."""
    sound = Judged(gate="audit", met=audit.verdict != "failed", found=audit.verdict)
    return (sound, *judge(gates, measured(audit)))


def measured(audit: Audit) -> dict[str, Measured]:
    """What an audit found, by the names of `AUDIT_GATES`; of a ledger that could not be read nothing."""
    state, guarantee, risks = audit.state, audit.guarantee, audit.risks
    if state is None or guarantee is None or risks is None:
        return {}
    found: dict[str, Measured] = {
        "epsilon": Interval.upper(guarantee.epsilon),
        "delta": Interval.exactly(state.budget.delta),
        "signed": _passed(audit, "signature"),
        "halted": state.halted is not None,
        "anchored": _passed(audit, "not put back to an older state"),
        "passed": audit.verdict == "passed",
        "noise": _stated(state.genesis.get("noise"), state.resumed_with),
        "sampling": _stated(state.genesis.get("sampling")),
        "neighbouring": state.budget.neighbouring.value,
        "writer": writer_of(state.genesis),
        **_of_plan(state),
    }
    if state.steps_charged:
        found["weights"] = Interval.exactly(state.held / state.steps_charged)
    for risk in (risks.one, *risks.groups):
        found |= _of_risk(risk)
    return found


def _passed(audit: Audit, name: str) -> bool:
    return any(check.name == name and check.status == PASSED for check in audit.checks)


def _stated(first: object, later: Iterable[str] = ()) -> str:
    """Every kind that the ledger states, each once: several are none of them."""
    kinds = dict.fromkeys(("not stated" if first is None else str(first), *later))
    return ", ".join(kinds)


def _of_plan(state: LedgerState) -> dict[str, Measured]:
    plan = state.plan
    if plan is None:
        return {}
    facts = plan.public_facts
    return {
        "feedback": plan.feedback.value,
        "dataset": plan.dataset,
        "unit": "record" if facts is None else facts.unit,
    }


def _of_risk(risk: Risk) -> dict[str, Measured]:
    suffix = _suffix(risk.group_size)
    values = {
        **{f"tpr{suffix}@{rate:g}": value for rate, value in risk.tpr.items()},
        f"advantage{suffix}": risk.advantage,
        **{f"posterior{suffix}@{prior:g}": value for prior, value in risk.posterior.items()},
    }
    return {name: Interval.upper(value) for name, value in values.items()}
