"""A claim as a report: the claimed ε, the certified ε, and why they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

from accountant.bound_text import exact_text, lower_text, upper_text
from accountant.claims.claims import Claim
from privgen.report.content import bound_rows
from privgen.report.document import Paragraph, Report, Section, Table
from privgen.report.text import plain


def claim_report(claim: Claim) -> Report:
    """The report of a claim, in the same form as an audit's."""
    tone, headline = _verdict(claim)
    rows = [
        ("claimed", _claimed(claim)),
        ("certified", f"ε ≤ {upper_text(claim.certified.epsilon)} (the smaller of the two upper bounds)"),
        *bound_rows(claim.certified),
        *(() if claim.lower is None else (("no smaller ε is true", f"ε ≥ {lower_text(claim.lower)}"),)),
        ("at", f"δ = {exact_text(claim.delta)}"),
        ("source", plain(claim.source)),
    ]
    sections = [
        Section(
            key="figures",
            title="Claimed and certified",
            blocks=(Table(caption="Claimed and certified", head=("item", "value"), rows=tuple(rows)),),
        )
    ]
    if claim.assumptions:
        resting = tuple(Paragraph(text=plain(text)) for text in claim.assumptions)
        sections.append(Section(key="assumptions", title="What the figures rest on", blocks=resting))
    return Report(
        title=f"Claim: {plain(claim.name)}",
        tone=tone,
        headline=headline,
        summary=plain(claim.reason),
        figures=_large(claim),
        sections=tuple(sections),
    )


def claims_report(claims: Sequence[Claim]) -> Report:
    """All claims as one table."""
    rows = tuple(
        (
            plain(one.name),
            exact_text(one.delta),
            "not stated" if one.claimed is None else f"ε = {_number(one.claimed)}",
            "none follows" if math.isinf(one.certified.epsilon) else f"ε ≤ {upper_text(one.certified.epsilon)}",
            "" if one.lower is None else f"ε ≥ {lower_text(one.lower)}",
            plain(one.reason),
        )
        for one in claims
    )
    head = ("claim", "δ", "claimed", "certified", "at least", "why they differ")
    table = Table(caption="Claimed and certified", head=head, rows=rows)
    text = (
        "Each was recomputed from what its publication or its public code says, at settings that privgen audit --claim "
        "NAME lists with their sources; a later version may do otherwise. What is claimed is not a bound, and what is "
        "certified is."
    )
    sections = (Section(key="claims", title="Claimed and certified", blocks=(Paragraph(text=text), table)),)
    return Report(
        title="Published claims",
        tone="incomplete",
        headline=f"{len(claims)} published claims, recomputed",
        summary="Facts about settings and code, not about people.",
        figures=(),
        sections=sections,
    )


def _verdict(claim: Claim) -> tuple[str, str]:
    if math.isinf(claim.certified.epsilon):
        return "incomplete", "No ε follows from what this code does"
    certified = upper_text(claim.certified.epsilon)
    if claim.claimed is None:
        return "passed", f"Certified: ε ≤ {certified}"
    claimed = _number(claim.claimed)
    if claim.lower is not None and claim.lower > claim.claimed:
        return "failed", (
            f"On these settings the claim does not hold: ε = {claimed} claimed, at least {lower_text(claim.lower)} true"
        )
    if claim.certified.epsilon > claim.claimed:
        return (
            "incomplete",
            f"On these settings the claim is not proved: ε = {claimed} claimed, ε ≤ {certified} certified",
        )
    return "passed", f"On these settings the claim holds: ε = {claimed} claimed, ε ≤ {certified} certified"


def _claimed(claim: Claim) -> str:
    if claim.claimed is None:
        return "nothing"
    return f"ε = {_number(claim.claimed)} (claimed by the published analysis, not a bound)"


def _large(claim: Claim) -> tuple[tuple[str, str], ...]:
    claimed = () if claim.claimed is None else (("claimed, not a bound", f"ε = {_number(claim.claimed)}"),)
    lower = () if claim.lower is None else (("at least", f"ε ≥ {lower_text(claim.lower)}"),)
    certified = ("certified", f"ε ≤ {upper_text(claim.certified.epsilon)}")
    return (*claimed, certified, *lower, ("at", f"δ = {exact_text(claim.delta)}"))


def _number(claimed: float) -> str:
    """A published figure as it was published; a figure computed here, to four decimals."""
    published = exact_text(claimed)
    return published if len(published) <= 6 else upper_text(claimed)
