"""`label_of`: a run's privacy on one card: whom it protects, how far, what is left out, and who can check what.

It is made of an audit and of nothing else; every figure is an upper bound, and is printed rounded up. A label of a
failed audit says so and no figure. For people who do not read reports (docs/for-officers.md explains each line), and
as JSON (schema `privgen.label/1`) for catalogues of data sets and models.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TypedDict

from accountant.audit.assumptions import ON_TRUST
from accountant.audit.audit import Audit
from accountant.audit.checks import PASSED
from accountant.audit.risk import RisksJson
from accountant.bound_text import exact_text, upper_percent, upper_text
from accountant.budget import Neighbouring
from accountant.composition.certified import finite
from accountant.ledger.state import LedgerState
from privgen.report.content import summary_of, tone_of
from privgen.report.html import MARK, policy_of
from privgen.report.rendering import render, source
from privgen.report.risk import in_words
from privgen.report.text import plain

SCHEMA = "privgen.label/1"
_ADJACENCY = {
    Neighbouring.ADD_OR_REMOVE_ONE: "one record more or less (add-or-remove-one)",
    Neighbouring.REPLACE_ONE: "one record exchanged for another (replace-one)",
}
_UNITS = {"record": "one record (one image and its label)"}
_FIVE = 5


class GuaranteeJson(TypedDict):
    """(ε, δ), and how it was computed; an infinite bound is null."""

    epsilon: float | None
    delta: float
    by: str
    accountant: str


class VerifierJson(TypedDict):
    """Who can check what."""

    who: str
    what: str


class LabelJson(TypedDict):
    """A label; where the audit failed everything but schema, run, verdict and summary is null or empty."""

    schema: str
    run: str
    verdict: str
    summary: str
    unit: str | None
    adjacency: str | None
    dataset: str | None
    records: int | None
    guarantee: GuaranteeJson | None
    in_words: str | None
    risk: RisksJson | None
    covered: list[str]
    not_covered: list[str]
    on_trust: list[str]
    who_can_verify: list[VerifierJson]
    ledger_head: str | None
    made_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What stands on the card. `tone`: how good the news is, as of a report."""

    tone: str
    json: LabelJson

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """The card's lines, as (name, value)."""
        one = self.json
        guarantee, risk = one["guarantee"], one["risk"]
        if guarantee is None or risk is None:
            return ()
        five = next((group for group in risk["groups"] if group["group_size"] == _FIVE), None)
        together = "" if five is None else f"; of {_FIVE} records of one person: {upper_percent(five['tpr']['0.01'])}"
        epsilon = float("inf") if guarantee["epsilon"] is None else guarantee["epsilon"]
        return (
            ("Who is protected", f"{one['unit']}, {one['adjacency']}"),
            ("How far", f"ε ≤ {upper_text(epsilon)} at δ = {exact_text(guarantee['delta'])}"),
            ("Computed by", f"{guarantee['accountant']}, of {guarantee['by']}"),
            ("Data", f"{one['dataset']}, {one['records']} records" if one["records"] else "not stated"),
            (
                "Any attack that accuses 1 % wrongly",
                f"finds at most {upper_percent(risk['tpr']['0.01'])} of the records that were used{together}",
            ),
            (
                "From even odds, anybody is at most",
                f"{upper_percent(risk['posterior']['0.5'])} sure that a record was used",
            ),
        )


def label_of(audit: Audit) -> Label:
    """The label of an audited run."""
    state, guarantee, risks = audit.state, audit.guarantee, audit.risks
    found: LabelJson = {
        "schema": SCHEMA,
        "run": plain(audit.run),
        "verdict": audit.verdict,
        "summary": summary_of(audit),
        "unit": None,
        "adjacency": None,
        "dataset": None,
        "records": None,
        "guarantee": None,
        "in_words": None,
        "risk": None,
        "covered": [],
        "not_covered": [],
        "on_trust": [],
        "who_can_verify": [],
        "ledger_head": None,
        "made_by": f"privgen {version('privgen')}",
    }
    if audit.verdict == "failed" or state is None or guarantee is None or risks is None or audit.spent is None:
        return Label(tone=tone_of(audit), json=found)
    budget, plan = state.budget, state.plan
    facts = None if plan is None else plan.public_facts
    unit = "record" if facts is None else facts.unit
    by_prv = audit.spent.prv is not None and audit.spent.epsilon < audit.spent.rdp
    found |= {
        "unit": _UNITS.get(unit, plain(unit)),
        "adjacency": _ADJACENCY[budget.neighbouring],
        "dataset": None if plan is None else plain(plan.dataset or (facts.name if facts is not None else "")),
        "records": None if plan is None else plan.dataset_size,
        "guarantee": {
            "epsilon": finite(guarantee.epsilon),
            "delta": budget.delta,
            "by": guarantee.by,
            "accountant": "numerical composition (PRV)" if by_prv else "Rényi composition (RDP)",
        },
        "in_words": in_words(risks, epsilon=guarantee.epsilon, delta=budget.delta),
        "risk": risks.to_json(),
        "covered": _covered(state),
        "not_covered": _not_covered(unit),
        "on_trust": [plain(one.text) for one in audit.assumptions if one.held == ON_TRUST],
        "who_can_verify": _verifiers(audit, state),
        "ledger_head": state.head,
    }
    return Label(tone=tone_of(audit), json=found)


def _covered(state: LedgerState) -> list[str]:
    files = ", ".join(plain(name) for name in sorted(state.releases)) or "nothing is released yet"
    return [
        f"everything that the run released: {files}",
        "everything that is ever made of it: any number of generated images, and whatever is trained on them",
        "each step of the training and each statistic of the data before it; stops, crashes and resumes",
    ]


def _not_covered(unit: str) -> list[str]:
    several = "several records of one person" if unit == "record" else f"several {plain(unit)}s together"
    return [
        f"{several} are protected less: see the line for {_FIVE}",
        "other runs and other publications on the same records, which add up",
        "settings that were chosen by looking at these records",
        "measurements against the real images (accuracy, FID), which are published without this protection",
        "what is true of people in general, and is learned of somebody who took no part too",
        "the private folder and whoever has access to the records",
    ]


def _verifiers(audit: Audit, state: LedgerState) -> list[VerifierJson]:
    signed = any(check.name == "signature" and check.status == PASSED for check in audit.checks)
    whose = (
        "the ledger is the signer's, unchanged (verified for this label)"
        if signed
        else "the ledger is the signer's, unchanged (nobody has compared a key for this label)"
        if state.public_key is not None
        else "nothing: this run is not signed"
    )
    return [
        {
            "who": "anybody who has the release folder",
            "what": "that ε follows from the ledger, that the plan was kept, and that the files are those it names",
        },
        {"who": "whoever knows the signer's public key from elsewhere", "what": whose},
        {
            "who": "whoever holds the private folder",
            "what": "that nothing is missing at the ledger's end, and what attacks on the run show",
        },
        {"who": "nobody, from files alone", "what": "that the program that ran was the published one"},
    ]


def render_label(label: Label) -> str:
    """The card as one HTML file that needs no other."""
    style = source("report.css") + source("label.css")
    page = render(
        "label.html", policy=policy_of(style), style=style, label=label.json, rows=label.rows, tone=label.tone,
        mark=MARK[label.tone],
    )  # fmt: skip
    return str(page)
