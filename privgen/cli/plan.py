"""`privgen plan`: solve for noise, sampling rate and iterations before any training.

Loads no torch, but where a step is to be measured.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from privgen.catalogue import METHODS
from privgen.cli.configuration import ConfiguredCommand
from privgen.cli.encoding import echo_json
from privgen.cli.facts import StatedData, facts_options, remember_source, state_data
from privgen.cli.option_types import DataName, Duration, OneOf, Phases, Shares
from privgen.cli.plan_risk import (
    accept_option,
    group_size_option,
    require_acceptance,
    risks_for,
    say_risk,
    warn_of_weakness,
)
from privgen.cli.spent_before import tell_where_at_hand

if TYPE_CHECKING:
    from accountant.plans.plan import Plan
    from planners import PhaseShape, PlanRequest, Search, StepCost

EPILOG = """\b
Examples:
  A plan for a data set; what is not given is chosen, and the noise is solved for:
    privgen plan --epsilon 10 --dataset fashion-mnist --out plan.json
  For your own data; N, classes and shape are proposed from them, and an option overrides each:
    privgen plan --epsilon 10 --dataset image-folder:scans --name clinic --resize 32 --crop pad --out plan.json
  Two of batch, steps and noise given, the third solved for; by the tighter bound, as JSON:
    privgen plan --epsilon 3 --dataset-size 20000 --batch-size 512 --iterations 2000
    privgen plan --epsilon 1 --batch-size 256 --noise-multiplier 2 --accountant prv --json
  Batch, steps, noise and bands searched together, within so many steps or so much time here:
    privgen plan --epsilon 10 --dataset fashion-mnist --max-iterations 2000 --plot plan.png
    privgen plan --epsilon 10 --dataset fashion-mnist --time-budget 30m --out plan.json
  Noise that falls: 1.5 times as much in the first half of the steps as in the second:
    privgen plan --epsilon 10 --dataset fashion-mnist --phases 0.5:1.5,0.5:1.0
  The published method's networks and losses, without the warm start that plans have by default:
    privgen plan --epsilon 10 --dataset fashion-mnist --preset paper --out plan.json
  The published feedback: claimed beside certified, and the largest C2 that the budget affords:
    privgen plan --epsilon 10 --feedback paper --batch-size 256 --noise-multiplier 1 --iterations 4000
"""

# The critic of the small preset has about so many; training still worked where noise was three times the signal.
_PARAMETERS, _HOPELESS = 1e5, 3.0


class PlanOptions(TypedDict):
    """What click hands over: one field an option."""

    epsilon: float
    delta: float | None
    dataset: str | None
    dataset_size: int | None
    method: str
    preset: str | None
    data_name: str | None
    classes: tuple[str, ...] | None
    shape: tuple[int, int, int] | None
    resize: int | None
    crop: str | None
    data_dir: Path | None
    batch_size: float | None
    sampling_rate: float | None
    iterations: int | None
    noise_multiplier: float | None
    feedback: str
    bands: int | None
    residual_ratio: float | None
    feedback_ratio: float | None
    phases: tuple[PhaseShape, ...] | None
    warm_start: float | None
    spare_releases: int
    spare_blocks: int
    shares: dict[str, float] | None
    clip_norm: float
    accountant: str
    neighbouring: str
    max_iterations: int | None
    time_budget: float | None
    measure: bool
    plot: Path | None
    out: Path | None
    as_json: bool
    group_size: int | None
    accept_weak_privacy: bool


@click.command(cls=ConfiguredCommand, epilog=EPILOG)
@click.option("--epsilon", type=float, required=True, help="ε of the budget, > 0 (natural logarithm).")
@click.option("--delta", type=float, help="δ of the budget.  [default: from N, well below 1/N]")
@click.option(
    "--dataset",
    type=DataName(),
    help="Name of the data set, or your own data, which N and public facts are proposed from.",
)
@click.option("--dataset-size", type=int, help="N, the number of training records; public.")
@click.option(
    "--method",
    type=OneOf(lambda: METHODS),
    default="gan",
    show_default=True,
    help="What is trained: " + "; ".join(f"{name}, {known.summary}" for name, known in METHODS.items()) + ".",
)
@click.option(
    "--preset",
    type=OneOf(lambda: list(dict.fromkeys(preset for known in METHODS.values() for preset in known.presets))),
    help="Size of the networks, by the method's name for it, for privgen train to take from the plan; paper is the "
    "published method: its networks and losses, no warm start.  [default: by N]",
)
@facts_options
@click.option("--batch-size", type=float, help="Expected batch size, qN.")
@click.option("--sampling-rate", type=float, help="q, instead of --batch-size.")
@click.option("--iterations", type=int, help="T, the number of private steps.")
@click.option("--noise-multiplier", type=float, help="z, noise std ÷ sensitivity.")
@click.option(
    "--feedback",
    type=click.Choice(["banded", "paper", "none"]),
    default="banded",
    show_default=True,
    help="Error feedback: ours, the published one (certified, expensive), or none (DP-SGD).",
)
@click.option("--bands", type=int, help="Memory of the banded feedback plus one.  [default: 4, or searched]")
@click.option("--residual-ratio", type=float, help="R/C1 of the banded feedback.  [default: bands - 1, or searched]")
@click.option(
    "--feedback-ratio", type=float, help="ρ = 2·C2·qN/C1 of the published feedback.  [default: 0.006, or solved for]"
)
@click.option(
    "--phases",
    type=Phases(),
    help="Noise (and rate) over the steps: each phase's share of the steps and its factor; scaled to the budget.",
)
@click.option(
    "--warm-start",
    type=float,
    help="Part of ε that statistics of each class, released before the first step, cost by themselves; 0 for none.  "
    "[default: the method's: "
    + ", ".join(f"{name} {known.planned.warm_start:g}" for name, known in METHODS.items())
    + "; none where rate, steps and noise are all given]",
)
@click.option(
    "--spare-releases",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Releases of a warm start that a crash may waste, charged in its part; with 0 a crash there ends the run.",
)
@click.option(
    "--spare-blocks",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Blocks of each phase of the steps that crashes may waste beside the planned ones, charged in ε.",
)
@click.option("--share", "shares", type=Shares(), help="Each part's share of the privacy cost; 0 drops a part.")
@click.option("--clip-norm", type=float, default=1.0, show_default=True, help="Total L2 bound on one gradient.")
@click.option(
    "--accountant",
    type=click.Choice(["rdp", "prv"]),
    default="rdp",
    show_default=True,
    help="Bound to plan for; prv is tighter and takes about a second.",
)
@click.option(
    "--neighbouring",
    type=click.Choice(["add-or-remove-one", "replace-one"]),
    default="add-or-remove-one",
    show_default=True,
    help="Which data sets count as neighbours.",
)
@click.option("--max-iterations", type=int, help="Search batch, steps, noise and bands together, up to so many steps.")
@click.option("--time-budget", type=Duration(), help="The same, for so much time, such as 30m; measures a step.")
@click.option("--measure", is_flag=True, help="Measure a training step here, and say how long the plan takes.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Plot ε over the steps, and the search.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan there.")
@group_size_option
@accept_option
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, and nothing else, on stdout.")
def command(**given: Unpack[PlanOptions]) -> None:
    """Plan a run: given (ε, δ), solve for what was not given of noise, sampling rate and iterations.

    Nothing is trained, and data of your own are read only if you name them. Every default is printed with the reason
    for it. What is printed was verified: its upper bound is at most ε. What was solved for is tight: 0.1 % less noise,
    or one step more, is over ε.
    """
    from accountant.budget import Neighbouring
    from accountant.errors import InvalidValue
    from planners.errors import ContradictoryRequest

    require_acceptance(given["epsilon"], accepted=given["accept_weak_privacy"])
    stated = state_data(
        given["dataset"], given["dataset_size"], data_name=given["data_name"], classes=given["classes"],
        shape=given["shape"], resize=given["resize"], crop=given["crop"], data_dir=given["data_dir"],
        neighbouring=Neighbouring(given["neighbouring"]),
    )  # fmt: skip
    try:
        found = _found(_request(given, stated), given)
    except InvalidValue as error:
        raise click.BadParameter(str(error)) from error
    except ContradictoryRequest as error:
        raise click.UsageError(str(error)) from error
    found = replace(found, plan=replace(found.plan, defaults={**found.plan.defaults, **stated.reasons}))
    out, plot = given["out"], given["plot"]
    _warn_of(found.plan, assumed_size=stated.size is None)
    tell_where_at_hand(found.plan, stated.source, stated.dataset if given["dataset"] else None, given["data_dir"])
    if out is not None:
        found.plan.save(out)
        if stated.source is not None:
            remember_source(out, found.plan, stated.source)
    if plot is not None:
        _plot(found, plot)
    if given["as_json"]:
        echo_json({**found.plan.to_json(), "risk": risks_for(found.plan, given["group_size"]).to_json()})
    else:
        _show(found, out, given["dataset"], given["group_size"])


def _request(given: PlanOptions, stated: StatedData) -> PlanRequest:
    from accountant.budget import Neighbouring
    from accountant.plans.parts import Feedback
    from planners import PlanRequest
    from planners.schedule import WHOLE

    method = METHODS[given["method"]].planned
    presets, preset = METHODS[given["method"]].presets, given["preset"]
    if preset is not None and preset not in presets:
        known = f"it has {', '.join(presets)}" if presets else "it has none"
        raise click.BadParameter(f"{preset!r} is no preset of {method.name}; {known}.", param_hint="--preset")
    return PlanRequest(
        epsilon=given["epsilon"],
        delta=given["delta"],
        dataset=stated.dataset,
        dataset_size=stated.size,
        method=method,
        preset=preset,
        public_facts=stated.facts,
        batch_size=given["batch_size"],
        sampling_rate=given["sampling_rate"],
        iterations=given["iterations"],
        noise_multiplier=given["noise_multiplier"],
        feedback=Feedback(given["feedback"]),
        bands=given["bands"],
        shares=given["shares"],
        clip_norm=given["clip_norm"],
        residual_ratio=given["residual_ratio"],
        feedback_ratio=given["feedback_ratio"],
        phases=given["phases"] or WHOLE,
        warm_start=given["warm_start"],
        spare_releases=given["spare_releases"],
        spare_blocks=given["spare_blocks"],
        accountant=given["accountant"],
        neighbouring=Neighbouring(given["neighbouring"]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What was asked, the plan, and the search and the cost of a step where these were asked for."""

    request: PlanRequest
    plan: Plan
    search: Search | None
    cost: StepCost | None


def _found(request: PlanRequest, given: PlanOptions) -> _Found:
    from planners import plan_of
    from privgen.cli.joint import search_plan, step_cost

    max_iterations, seconds = given["max_iterations"], given["time_budget"]
    made = plan_of(request)
    cost = step_cost(made) if given["measure"] or seconds is not None else None
    search = None
    if max_iterations is not None or seconds is not None:
        made, search = search_plan(request, made, max_iterations=max_iterations, seconds=seconds, cost=cost)
    return _Found(request=request, plan=made, search=search, cost=cost)


def _warn_of(made: Plan, *, assumed_size: bool) -> None:
    """Say where a plan keeps its budget and is of little use."""
    from privgen.cli.console import warn
    from privgen.report.plan import noise_to_batch

    if assumed_size:
        warn(
            f"N = {made.dataset_size} is an ASSUMPTION, the size of MNIST; give --dataset, or N of your data by "
            "--dataset-size."
        )
    warn_of_weakness(made)
    if made.delta >= 1 / made.dataset_size:
        warn(
            f"δ = {made.delta:g} is not below 1/N = {1 / made.dataset_size:g}: publishing one record whole may fit it."
        )
    drowned = min(noise_to_batch(made, phase) for phase in made.schedule()) * _PARAMETERS**0.5
    if drowned > _HOPELESS:
        warn(
            f"In a network of {_PARAMETERS:g} parameters the noise of a step is {drowned:.2g} times as long as the "
            "signal of a batch whose records all agree: expect little. Raise ε, the batch or N, or take fewer steps."
        )


def _plot(found: _Found, file: Path) -> None:
    from privgen.cli.console import err_console
    from privgen.report.plan_plot import plot_plan

    err_console.print(f"Plotting into {file} ...", markup=False, soft_wrap=True)
    plot_plan(found.plan, file, found.search)


def _show(found: _Found, out: Path | None, dataset: str | None, group_size: int | None) -> None:
    """Print a plan; `dataset` is what the data were called on the command line."""
    from accountant.plans.parts import Feedback
    from privgen.cli.console import console
    from privgen.cli.plan_notes import affordable_rows, notes, saving
    from privgen.report.plan import render_affordable, render_plan, render_search

    made, phases = found.plan, found.request.phases
    render_plan(made, console, notes(made, phases))
    say_risk(made, group_size)
    if made.feedback is Feedback.PAPER:
        render_affordable(affordable_rows(made, phases), console)
    if found.search is not None:
        render_search(found.search, console)
    if found.cost is not None:
        console.print(_time_needed(made, found.cost), markup=False, soft_wrap=True)
    if made.verified is not None and made.verified.prv is not None:
        console.print(saving(made, phases), markup=False, soft_wrap=True)
    file = out if out is not None else "plan.json"
    source = "NAME" if dataset is None else shlex.quote(dataset)
    hint = f"privgen train --plan {shlex.quote(str(file))} --dataset {source}"
    prefix = "Next: " if out is not None else "Next: the same with --out plan.json, then "
    console.print(prefix + hint + " --out runs/NAME", markup=False, soft_wrap=True)


def _time_needed(made: Plan, cost: StepCost) -> str:
    each = cost.of(made.expected_batch_size)
    return (
        f"Measured here: {each:.3g} s a step of expected batch {made.expected_batch_size:.6g}; "
        f"{made.iterations} steps take about {made.iterations * each / 60:.1f} minutes."
    )
