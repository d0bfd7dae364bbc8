"""`privgen audit`: recompute what a run spent, from its ledger alone; or what a claim or a setting costs.

Loads no torch, but with --empirical, which runs the release code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from privgen.cli.audit_claim import Settings, claim_of, render_claim, render_claims
from privgen.cli.audit_neighbours import end_by_replay, render_replay, replay
from privgen.cli.audit_run import AttackAsked, RunAudit, audit_one, coloured, deliver
from privgen.cli.gates import GateOptions, gate_options, gates_asked
from privgen.cli.option_types import ClaimName
from privgen.cli.plan_risk import group_size_option

EPILOG = """\b
Examples:
  privgen audit runs/fm
  privgen audit runs/fm --format json > audit.json
  privgen audit ledger.jsonl
  privgen audit runs/fm --format markdown --out PRIVACY.md
  privgen audit runs/fm --format html --out report.html
  privgen audit runs/fm --empirical
  privgen audit runs/fm --referee
  privgen audit runs/fm --public-key officer.key.pub --require "epsilon<=10,delta<=1e-5,signed,tpr@1%<=0.3"
  privgen audit runs/fm --policy policy.yaml --policy-key officer.key.pub --gates ci/
  privgen audit --neighbours mystep:step
  privgen audit --claims
  privgen audit --claim gs-wgan
  privgen audit --noise-multiplier 1.1 --sampling-rate 0.004 --iterations 10000
  privgen audit --opacus-history history.json --delta 1e-6
"""
_ONE_OF = (
    "Give one of: a run's folder; --neighbours; --claim; --claims; --opacus-history; --noise-multiplier with "
    "--sampling-rate and --iterations."
)


# What says nothing without a run, as the command line calls it.
_OF_A_RUN = (
    "public_key",
    "anchor",
    "group_size",
    "empirical",
    "referee",
    "require",
    "policy",
    "policy_key",
    "gates_folder",
)


class AuditOptions(GateOptions):
    """What click hands over: one field an option."""

    run: Path | None
    form: str
    out: Path | None
    anchor: Path | None
    public_key: str | None
    claim_name: str | None
    claims: bool
    noise_multiplier: float | None
    sampling_rate: float | None
    iterations: int | None
    bands: int
    feedback_ratio: float
    opacus_history: Path | None
    delta: float
    neighbouring: str
    group_size: int | None
    referee: bool
    empirical: bool
    neighbours: str | None
    trials: int | None
    confidence: float | None
    seed: int | None
    data_dir: Path | None


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
    "--claim",
    "claim_name",
    type=ClaimName(),
    help="A published claim: gs-wgan, dp-gan-dpac, dicesgd, efsgd-paper, dp-sinkhorn, datalens, opacus-distributed, "
    "dpimagebench-gs-wgan or dpimagebench-histogram.",
)
@click.option("--claims", is_flag=True, help="All published claims, as one table.")
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
@click.option(
    "--neighbours",
    metavar="MODULE:FUNCTION",
    help="Replay a private step of your own on neighbouring data: what one record moves, against what is charged.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=30),
    help="Runs of each world, or pairs of neighbours.  [default: for a minute or two; 200 pairs]",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of each lower bound.  [default: 0.999; by canaries 0.95]",
)
@click.option("--seed", type=click.IntRange(min=0), help="Randomness of the attack from a seed, to repeat it.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the run's data set is, to tell members by.")
@gate_options
@click.pass_context
def command(ctx: click.Context, /, **given: Unpack[AuditOptions]) -> None:
    """Recompute what the run in folder RUN spent, and check its ledger, plan and released files.

    RUN may be a ledger's file alone, such as ledger.jsonl.

    Without RUN: what a published claim (--claim), settings of your own or an Opacus history cost; or a private step of
    your own on neighbouring data (--neighbours).

    Exit status 0 when the verdict is passed or incomplete, 1 when it is failed, a gate (--require, --policy) is
    not met or a step moves more than is charged. A claim that does not hold is a finding, with exit status 0.
    """
    run, history = given["run"], given["opacus_history"]
    of_settings = any(given[name] is not None for name in ("noise_multiplier", "sampling_rate", "iterations"))
    named = (run, given["neighbours"], given["claim_name"], given["claims"] or None, history, of_settings or None)
    if sum(one is not None for one in named) != 1:
        raise click.UsageError(_ONE_OF)
    if run is None:
        _refuse(ctx, _OF_A_RUN, "a run's folder")
    if not given["empirical"]:
        _refuse(ctx, ("confidence", "data_dir"), "--empirical")
        if given["neighbours"] is None:
            _refuse(ctx, ("trials", "seed"), "--empirical or --neighbours")
    if not of_settings:
        _refuse(ctx, ("bands", "feedback_ratio"))
        if history is None:
            _refuse(ctx, ("delta", "neighbouring"))
    if run is not None:
        audit_one(_of_run(run, given))
        return
    form, out = given["form"], given["out"]
    if given["claims"]:
        deliver(render_claims(form, colour=coloured(form, out)), form, out)
        return
    if given["neighbours"] is not None:
        replayed = replay(given["neighbours"], trials=given["trials"], seed=given["seed"])
        deliver(render_replay(replayed, given["neighbours"], form, colour=coloured(form, out)), form, out)
        end_by_replay(replayed)
        return
    settings = Settings(
        noise_multiplier=given["noise_multiplier"],
        sampling_rate=given["sampling_rate"],
        iterations=given["iterations"],
        bands=given["bands"],
        feedback_ratio=given["feedback_ratio"],
        delta=given["delta"],
        neighbouring=given["neighbouring"],
    )
    claimed = claim_of(given["claim_name"], history, settings)
    deliver(render_claim(claimed, form, colour=coloured(form, out)), form, out)


def _of_run(run: Path, given: AuditOptions) -> RunAudit:
    from accountant.audit.audit_gates import AUDIT_GATES

    attack = AttackAsked(
        trials=given["trials"], confidence=given["confidence"], seed=given["seed"], data_dir=given["data_dir"]
    )
    return RunAudit(
        run=run,
        form=given["form"],
        out=given["out"],
        public_key=given["public_key"],
        anchor=given["anchor"],
        attack=attack if given["empirical"] else None,
        group_size=given["group_size"],
        referee=given["referee"],
        gates=gates_asked("audit", given, kinds=AUDIT_GATES),
    )


def _refuse(
    ctx: click.Context, names: tuple[str, ...], goes: str = "--noise-multiplier and settings of your own"
) -> None:
    """A usage error where one of these options was given: it would say nothing here."""
    for name in names:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = name.removesuffix("_folder").replace("_", "-")
            raise click.UsageError(f"--{option} goes with {goes}.")
