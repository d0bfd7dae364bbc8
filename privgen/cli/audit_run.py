"""`privgen audit RUN`: one run, recomputed, attacked and judged by gates. Loads torch with --empirical alone."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privgen.cli.audit_claim import as_json

if TYPE_CHECKING:
    from accountant.audit.audit import Audit
    from accountant.audit.referee import Opinion
    from privgen.attacks.summary import Empirical
    from privgen.cli.gates import GatesAsked


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackAsked:
    """What --empirical is told."""

    trials: int | None
    confidence: float | None
    seed: int | None
    data_dir: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunAudit:
    """What is asked of a run, and how it is shown.

    Args:
        attack: of --empirical, or None. gates: that must be met, or None.
    """

    run: Path
    form: str
    out: Path | None
    public_key: str | None
    anchor: Path | None
    attack: AttackAsked | None
    group_size: int | None
    referee: bool
    gates: GatesAsked | None


def audit_one(asked: RunAudit) -> None:
    """Audit it, show what was found, and end with exit status 1 where something failed."""
    from accountant.audit.audit import audit_run
    from accountant.audit.audit_gates import judge_audit
    from accountant.ledger.signing import load_public_key
    from privgen.cli.gates import end_by_gates, say_gates
    from privgen.report.text import plain

    _require_no_plan(asked.run)
    key = load_public_key(asked.public_key) if asked.public_key else None
    audit = audit_run(asked.run, public_key=key, anchor=asked.anchor)
    if asked.group_size is not None:
        audit = replace(audit, group_sizes=(*audit.group_sizes, asked.group_size))
    attack = asked.attack
    found = _attacked(audit, asked.run, attack) if attack is not None and audit.state is not None else None
    opinions = _second_opinions(audit) if asked.referee else ()
    also: dict[str, Any] = {"referee": [one.to_json() for one in opinions]} if opinions else {}
    for_people = asked.form == "terminal" and asked.out is None
    if asked.gates is None:
        deliver(_render(audit, asked, found, opinions, also), asked.form, asked.out)
    else:
        judged = judge_audit(asked.gates.gates, audit)
        if for_people:
            deliver(_render(audit, asked, found, opinions, also), asked.form, asked.out)
        also["gates"] = say_gates(judged, asked.gates, of=plain(audit.run), on_stdout=for_people)
        if not for_people:
            deliver(_render(audit, asked, found, opinions, also), asked.form, asked.out)
    if audit.verdict == "failed":
        _fail(audit)
    if found is not None and not found.holds:
        _say_failed("the empirical audit failed: a lower bound is above the certified ε")
    _require_agreement(opinions)
    if asked.gates is not None:
        end_by_gates(judged)


def _require_no_plan(run: Path) -> None:
    """A plan is no ledger, and not a ledger that somebody broke."""
    from accountant.errors import PlanError
    from accountant.plans.plan import Plan
    from privgen.errors import RunError

    if run.suffix != ".json" or not run.is_file():
        return
    try:
        Plan.load(run)
    except PlanError:
        return
    raise RunError(f"{run} is a plan, in which nothing is spent yet; name a run's folder, such as runs/NAME.")


def _second_opinions(audit: Audit) -> tuple[Opinion, ...]:
    from accountant.audit.referee import second_opinions
    from accountant.ledger.state import charged

    state = audit.state
    composition = () if state is None else charged(state.segments)
    if state is None or audit.spent is None or not composition:
        return ()
    return second_opinions(composition, state.budget, audit.spent)


def _require_agreement(opinions: tuple[Opinion, ...]) -> None:
    from accountant.audit.referee import disagreement

    contradicts = disagreement(opinions)
    if contradicts is not None:
        _say_failed(f"the referees disagree: {contradicts.who}: {contradicts.reason}")


def _attacked(audit: Audit, run: Path, attack: AttackAsked) -> Empirical:
    from privgen.attacks.empirical import attack_run
    from privgen.cli.console import err_console

    err_console.print("Attacking the release code; this takes a minute or two.", style="dim")
    return attack_run(
        audit, run, trials=attack.trials, confidence=attack.confidence, seed=attack.seed, data_dir=attack.data_dir
    )


def _render(
    audit: Audit, asked: RunAudit, found: Empirical | None, opinions: tuple[Opinion, ...], also: dict[str, Any]
) -> str:
    form, run = asked.form, asked.run
    if form == "json":
        return as_json(audit.to_json() | ({"empirical": found.to_json()} if found else {}) | also)
    if form == "terminal":
        return _for_terminal(audit, found, opinions, colour=coloured(form, asked.out))
    from privgen.report.write import report_with_warnings, sample_grid

    report = report_with_warnings(audit, run)
    if found is not None:
        from privgen.attacks.summary import empirical_sections, reached_sections

        reached = reached_sections(audit.risks, found, private=False)
        report = replace(report, sections=(*report.sections, *empirical_sections(found, private=False), *reached))
    if opinions:
        from privgen.report.referee import referee_section

        report = replace(report, sections=(*report.sections, referee_section(opinions)))
    if form == "markdown":
        from privgen.report.markdown import render_markdown

        return render_markdown(report)
    from privgen.report.figures import figures_of
    from privgen.report.html import render_html

    return render_html(report, figures=figures_of(audit), samples=sample_grid(audit, run))


def _for_terminal(audit: Audit, found: Empirical | None, opinions: tuple[Opinion, ...], *, colour: bool) -> str:
    from privgen.report.terminal import render_audit, render_report

    text = render_audit(audit, colour=colour)
    if found is not None:
        from privgen.attacks.summary import empirical_report

        text += "\n" + render_report(empirical_report(found, audit.risks), colour=colour)
    if opinions:
        from privgen.report.referee import referee_report

        text += "\n" + render_report(referee_report(opinions), colour=colour)
    return text


def coloured(form: str, out: Path | None) -> bool:
    """Whether what is written there is in colour."""
    from privgen.cli.console import in_colour

    return out is None and form == "terminal" and in_colour()


def deliver(text: str, form: str, out: Path | None) -> None:
    """To a file or to stdout."""
    # A lone surrogate, which a ledger can hold, is no UTF-8; its escape is JSON, and harmless elsewhere.
    data = text.encode("utf-8", "backslashreplace")
    if out is None:
        # A terminal's text in the terminal's letters; what a script or a browser reads is UTF-8 everywhere.
        click.echo(text if form == "terminal" else data, nl=False, color=True)
        return
    from accountant.files import write_durably

    write_durably(out, data)


def _fail(audit: Audit) -> None:
    from privgen.report.text import plain

    broken = next(check for check in audit.checks if check.status == "failed")
    _say_failed(f"the audit failed: {plain(broken.name)}: {plain(broken.detail)}")


def _say_failed(text: str) -> None:
    from privgen.cli.console import err_console

    err_console.print(f"Error: {text}", style="bold red", markup=False, soft_wrap=True)
    sys.exit(1)
