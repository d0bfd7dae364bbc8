"""`privgen audit`: recompute what a run spent, from its ledger alone; or what a claim or a setting costs.

Loads no torch, but with --empirical, which runs the release code.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from privgen.cli.audit_claim import Settings, as_json, claim_of, render_claim
from privgen.cli.option_types import ClaimName
from privgen.cli.plan_risk import group_size_option

if TYPE_CHECKING:
    from accountant.audit.audit import Audit
    from accountant.audit.referee import Opinion
    from privgen.attacks.summary import Empirical

EPILOG = """\b
Examples:
  privgen audit runs/fm
  privgen audit runs/fm --format json > audit.json
  privgen audit ledger.jsonl
  privgen audit runs/fm --format markdown --out PRIVACY.md
  privgen audit runs/fm --format html --out report.html
  privgen audit runs/fm --empirical
  privgen audit runs/fm --referee
  privgen audit --claim gs-wgan
  privgen audit --noise-multiplier 1.1 --sampling-rate 0.004 --iterations 10000
  privgen audit --opacus-history history.json --delta 1e-6
"""
_ONE_OF = (
    "Give one of: a run's folder; --claim; --opacus-history; --noise-multiplier with --sampling-rate and --iterations."
)


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "json", "markdown", "html"]),
    default="terminal",
    show_default=True,
    help="How to show it; json prints JSON alone.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.option(
    "--anchor",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file that remembers how far the run is (privgen train --anchor): a copy or a backup is seen by it.",
)
@click.option("--public-key", help="The signer's public key (64 hexadecimal digits, or a .pub file).")
@click.option(
    "--claim", "claim_name", type=ClaimName(), help="A published claim: gs-wgan, dp-gan-dpac, dicesgd or efsgd-paper."
)
@click.option("--noise-multiplier", type=float, help="z of settings of your own, noise std ÷ sensitivity.")
@click.option("--sampling-rate", type=float, help="q of settings of your own.")
@click.option("--iterations", type=int, help="T of settings of your own.")
@click.option("--bands", type=int, default=1, show_default=True, help="Bands of the settings' error feedback.")
@click.option("--feedback-ratio", type=float, default=0.0, help="ρ of the published error feedback.  [default: none]")
@click.option(
    "--opacus-history",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSON of Opacus' accountant.history: [[noise multiplier, sample rate, steps], ...].",
)
@click.option("--delta", type=float, default=1e-5, show_default=True, help="δ of settings or of a history.")
@click.option(
    "--neighbouring",
    type=click.Choice(["add-or-remove-one", "replace-one"]),
    default="add-or-remove-one",
    show_default=True,
    help="Which data sets count as neighbours, for settings or a history.",
)
@group_size_option
@click.option("--referee", is_flag=True, help="Ask prv-accountant, dp_accounting and Opacus for the same spend.")
@click.option("--empirical", is_flag=True, help="Attack it too: release code, canaries, generator.")
@click.option("--trials", type=click.IntRange(min=30), help="Runs of each world.  [default: for a minute or two]")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of each lower bound.  [default: 0.999; by canaries 0.95]",
)
@click.option("--seed", type=click.IntRange(min=0), help="Noise and coins of the attack from a seed, to repeat it.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the run's data set is, to tell members by.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run: Path | None,
    form: str,
    out: Path | None,
    anchor: Path | None,
    public_key: str | None,
    claim_name: str | None,
    noise_multiplier: float | None,
    sampling_rate: float | None,
    iterations: int | None,
    bands: int,
    feedback_ratio: float,
    opacus_history: Path | None,
    delta: float,
    neighbouring: str,
    group_size: int | None,
    referee: bool,
    empirical: bool,
    trials: int | None,
    confidence: float | None,
    seed: int | None,
    data_dir: Path | None,
) -> None:
    """Recompute what the run in folder RUN spent, and check its ledger, plan and released files.

    RUN may be a ledger's file alone, such as ledger.jsonl.

    Without RUN: what a published claim (--claim), settings of your own or an Opacus history cost.

    Exit status 0 when the verdict is passed or incomplete, 1 when it is failed. A claim that does not hold is a
    finding, with exit status 0.
    """
    of_settings = any(value is not None for value in (noise_multiplier, sampling_rate, iterations))
    if sum((run is not None, claim_name is not None, opacus_history is not None, of_settings)) != 1:
        raise click.UsageError(_ONE_OF)
    if run is None:
        _refuse(ctx, ("public_key", "anchor", "group_size"), "a run's folder")
    if run is None and empirical:
        raise click.UsageError("--empirical goes with a run's folder.")
    if run is None and referee:
        raise click.UsageError("--referee goes with a run's folder.")
    if not empirical:
        _refuse(ctx, ("trials", "confidence", "seed", "data_dir"), "--empirical")
    if not of_settings:
        _refuse(ctx, ("bands", "feedback_ratio"))
        if opacus_history is None:
            _refuse(ctx, ("delta", "neighbouring"))
    colour = _coloured(form, out)
    if run is not None:
        attack = _Attack(trials=trials, confidence=confidence, seed=seed, data_dir=data_dir) if empirical else None
        _audit_run(run, form, out, public_key, anchor, attack, group_size, referee=referee, colour=colour)
        return
    settings = Settings(
        noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, iterations=iterations, bands=bands,
        feedback_ratio=feedback_ratio, delta=delta, neighbouring=neighbouring,
    )  # fmt: skip
    _deliver(render_claim(claim_of(claim_name, opacus_history, settings), form, colour=colour), form, out)


def _coloured(form: str, out: Path | None) -> bool:
    from privgen.cli.console import in_colour

    return out is None and form == "terminal" and in_colour()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Attack:
    """What --empirical is told."""

    trials: int | None
    confidence: float | None
    seed: int | None
    data_dir: Path | None


def _refuse(
    ctx: click.Context, names: tuple[str, ...], goes: str = "--noise-multiplier and settings of your own"
) -> None:
    """A usage error where one of these options was given: it would say nothing here."""
    for name in names:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with {goes}.")


def _audit_run(
    run: Path,
    form: str,
    out: Path | None,
    public_key: str | None,
    anchor: Path | None,
    attack: _Attack | None,
    group_size: int | None,
    *,
    referee: bool,
    colour: bool,
) -> None:
    from accountant.audit.audit import audit_run
    from accountant.ledger.signing import load_public_key

    _require_no_plan(run)
    audit = audit_run(run, public_key=load_public_key(public_key) if public_key else None, anchor=anchor)
    if group_size is not None:
        audit = replace(audit, group_sizes=(*audit.group_sizes, group_size))
    found = _attacked(audit, run, attack) if attack is not None and audit.state is not None else None
    opinions = _second_opinions(audit) if referee else ()
    _deliver(_render(audit, run, form, found, opinions, colour=colour), form, out)
    if audit.verdict == "failed":
        _fail(audit)
    if found is not None and not found.holds:
        _say_failed("the empirical audit failed: a lower bound is above the certified ε")
    _require_agreement(opinions)


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


def _attacked(audit: Audit, run: Path, attack: _Attack) -> Empirical:
    from privgen.attacks.empirical import attack_run
    from privgen.cli.console import err_console

    err_console.print("Attacking the release code; this takes a minute or two.", style="dim")
    return attack_run(
        audit, run, trials=attack.trials, confidence=attack.confidence, seed=attack.seed, data_dir=attack.data_dir
    )


def _render(
    audit: Audit, run: Path, form: str, found: Empirical | None, opinions: tuple[Opinion, ...], *, colour: bool
) -> str:
    if form == "json":
        also = {"referee": [one.to_json() for one in opinions]} if opinions else {}
        return as_json(audit.to_json() | ({"empirical": found.to_json()} if found else {}) | also)
    if form == "terminal":
        return _for_terminal(audit, found, opinions, colour=colour)
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


def _deliver(text: str, form: str, out: Path | None) -> None:
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
