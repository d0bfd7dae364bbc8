"""`privgen audit` without a run: what a published claim, settings of one's own or an Opacus history cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from accountant.budget import Neighbouring
    from accountant.claims.claims import Claim
    from privgen.report.document import Report

# What a history's file may hold: a few thousand entries are plenty.
_LARGEST_HISTORY = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of one's own; δ and adjacency are a history's too."""

    noise_multiplier: float | None
    sampling_rate: float | None
    iterations: int | None
    bands: int
    feedback_ratio: float
    delta: float
    neighbouring: str


def render_claim(claim: Claim, form: str, *, colour: bool) -> str:
    if form == "json":
        return as_json(claim.to_json())
    from privgen.report.claim import claim_report

    return render_report_as(claim_report(claim), form, colour=colour)


def render_claims(form: str, *, colour: bool) -> str:
    """Every claim that is known, as one table or as a JSON list."""
    from accountant.claims.claims import EVERY_CLAIM, claim

    found = [claim(name) for name in EVERY_CLAIM]
    if form == "json":
        return as_json([one.to_json() for one in found])
    from privgen.report.claim import claims_report

    return render_report_as(claims_report(found), form, colour=colour)


def render_report_as(report: Report, form: str, *, colour: bool) -> str:
    """A report as terminal text, Markdown or HTML."""
    if form == "markdown":
        from privgen.report.markdown import render_markdown

        return render_markdown(report)
    if form == "html":
        from privgen.report.html import render_html

        return render_html(report)
    from privgen.report.terminal import render_report

    return render_report(report, colour=colour)


def claim_of(name: str | None, opacus_history: Path | None, settings: Settings) -> Claim:
    """A published claim, or settings or a history as a claim that nobody made."""
    from accountant.budget import Neighbouring
    from accountant.claims.claims import claim, claim_of_settings
    from accountant.errors import InvalidValue

    if name is not None:
        return claim(name)
    neighbouring = Neighbouring(settings.neighbouring)
    try:
        if opacus_history is not None:
            return _claim_of_history(opacus_history, settings.delta, neighbouring)
        z, q, steps = settings.noise_multiplier, settings.sampling_rate, settings.iterations
        if z is None or q is None or steps is None:
            given = {"noise-multiplier": z, "sampling-rate": q, "iterations": steps}
            missing = next(option for option, value in given.items() if value is None)
            raise click.UsageError(f"Settings need --{missing} too.")
        return claim_of_settings(
            noise_multiplier=z, sampling_rate=q, iterations=steps, delta=settings.delta, bands=settings.bands,
            feedback_ratio=settings.feedback_ratio, neighbouring=neighbouring,
        )  # fmt: skip
    except InvalidValue as error:
        raise click.BadParameter(str(error)) from error


def _claim_of_history(path: Path, delta: float, neighbouring: Neighbouring) -> Claim:
    from accountant.adapters import from_opacus_history
    from accountant.budget import require_delta
    from accountant.claims.claims import Claim
    from accountant.composition.certified import certify

    require_delta(delta)
    composition = from_opacus_history(_read_history(path))
    return Claim(
        name="opacus-history",
        delta=delta,
        claimed=None,
        certified=certify(composition, delta=delta, neighbouring=neighbouring),
        lower=None,
        reason="Each entry is so many steps of a Poisson-subsampled Gaussian; all of them are composed.",
        source=f"Opacus' accountant.history in {path.name}, {len(composition)} entries",
        assumptions=(f"adjacency {neighbouring.value}, δ = {delta:g}", "Poisson sampling, N public"),
    )


def _read_history(path: Path) -> list[Sequence[float]]:
    """The list itself, or the state_dict of Opacus that holds it."""
    from accountant.errors import InvalidValue

    if path.stat().st_size > _LARGEST_HISTORY:
        raise InvalidValue(f"{path} is too large to be an Opacus history.")
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidValue(f"{path} is not JSON ({error}); write it with json.dumps(accountant.history).") from error
    history = value.get("history") if isinstance(value, dict) else value
    if not isinstance(history, list):
        raise InvalidValue(f"Expected {path} to hold [[noise multiplier, sample rate, steps], ...].")
    return history


def as_json(value: object) -> str:
    """JSON for a script, one line end at its end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
