"""`privgen plan`: solve for noise, sampling rate and iterations before any training.

Loads no torch, but where a step is to be measured.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from privgen.cli.facts import facts_options, remember_source, state_data

if TYPE_CHECKING:
    from accountant.plans.plan import Plan
    from planners import PhaseShape, StepCost

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
  The published feedback: claimed beside certified, and the largest C2 that the budget affords:
    privgen plan --epsilon 10 --feedback paper --batch-size 256 --noise-multiplier 1 --iterations 4000
"""

# The critic of the small preset has about so many; training still worked where noise was three times the signal.
_PARAMETERS, _HOPELESS = 1e5, 3.0


class Shares(click.ParamType):
    """critic=0.6,classifier=0.3,reconstruction=0.1"""

    name = "PART=SHARE,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float] | None:
        """The text as a dictionary."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        try:
            pairs = [item.split("=") for item in value.split(",")]
            return {name.strip(): float(share) for name, share in pairs}
        except ValueError:
            self.fail(f"{value!r} is not like critic=0.6,classifier=0.4", param, ctx)


class Phases(click.ParamType):
    """0.5:1.5,0.5:1.0: share of the steps, factor of the noise, and if a third is given of the sampling rate"""

    name = "SHARE:NOISE[:RATE],..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[PhaseShape, ...]:
        """The text as the shape of a schedule."""
        from accountant.errors import InvalidValue
        from planners import PhaseShape
        from planners.schedule import require_whole

        try:
            rows = [[float(number) for number in item.split(":")] for item in str(value).split(",")]
            if not all(2 <= len(row) <= 3 for row in rows):
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is not like 0.5:1.5,0.5:1.0", param, ctx)
        try:
            phases = tuple(PhaseShape(**dict(zip(("share", "noise", "rate"), row, strict=False))) for row in rows)
            require_whole(phases)
        except InvalidValue as error:
            self.fail(str(error), param, ctx)
        return phases


class Duration(click.ParamType):
    """90, 90s, 30m, 1.5h: seconds"""

    name = "DURATION"
    _UNITS: ClassVar[dict[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0}

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The text in seconds."""
        text = str(value)
        number, unit = (text[:-1], text[-1]) if text[-1:] in self._UNITS else (text, "s")
        try:
            seconds = float(number) * self._UNITS[unit]
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is not like 90s, 30m or 1.5h", param, ctx)
        return seconds


@click.command(epilog=EPILOG)
@click.option("--epsilon", type=float, required=True, help="ε of the budget, > 0 (natural logarithm).")
@click.option("--delta", type=float, help="δ of the budget.  [default: from N, well below 1/N]")
@click.option("--dataset", help="Name of the data set, or your own data, which N and public facts are proposed from.")
@click.option("--dataset-size", type=int, help="N, the number of training records; public.")
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
    default=0.0,
    show_default=True,
    help="Part of ε that statistics of each class, released before the first step, cost by themselves.",
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
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, and nothing else, on stdout.")
def command(
    dataset: str | None,
    dataset_size: int | None,
    data_name: str | None,
    classes: tuple[str, ...] | None,
    shape: tuple[int, int, int] | None,
    resize: int | None,
    crop: str | None,
    data_dir: Path | None,
    feedback: str,
    neighbouring: str,
    phases: tuple[PhaseShape, ...] | None,
    max_iterations: int | None,
    time_budget: float | None,
    measure: bool,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Plan a run: given (ε, δ), solve for what was not given of noise, sampling rate and iterations.

    Nothing is trained, and data of your own are read only if you name them. Every default is printed with the reason
    for it. What is printed was verified: its upper bound is at most ε. What was solved for is tight: 0.1 % less noise,
    or one step more, is over ε.
    """
    from accountant.budget import Neighbouring
    from accountant.errors import InvalidValue
    from planners import plan as make_plan
    from planners.errors import ContradictoryRequest
    from planners.schedule import WHOLE
    from privgen.cli.console import console, err_console, warn
    from privgen.cli.joint import search_plan, step_cost
    from privgen.cli.plan_notes import affordable_rows, notes, saving
    from privgen.report.plan import noise_to_batch, render_affordable, render_plan, render_search

    stated = state_data(
        dataset,
        dataset_size,
        data_name=data_name,
        classes=classes,
        shape=shape,
        resize=resize,
        crop=crop,
        data_dir=data_dir,
        neighbouring=Neighbouring(neighbouring),
    )
    request = {
        "dataset": stated.dataset,
        "dataset_size": stated.size,
        "public_facts": stated.facts,
        "feedback": feedback,
        "neighbouring": Neighbouring(neighbouring),
        "phases": phases or WHOLE,
        **values,
    }
    try:
        made = make_plan(**request)
        cost = step_cost(made) if measure or time_budget is not None else None
        search = None
        if max_iterations is not None or time_budget is not None:
            made, search = search_plan(request, made, max_iterations=max_iterations, seconds=time_budget, cost=cost)
    except InvalidValue as error:
        raise click.BadParameter(str(error)) from error
    except ContradictoryRequest as error:
        raise click.UsageError(str(error)) from error
    made = replace(made, defaults={**made.defaults, **stated.reasons})
    if stated.size is None:
        warn(
            f"N = {made.dataset_size} is an ASSUMPTION, the size of MNIST; give --dataset, or N of your data by "
            "--dataset-size."
        )
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
    if out is not None:
        made.save(out)
        if stated.source is not None:
            remember_source(out, made, stated.source)
    if plot is not None:
        from privgen.report.plan_plot import plot_plan

        err_console.print(f"Plotting into {plot} ...", markup=False, soft_wrap=True)
        plot_plan(made, plot, search)
    if as_json:
        click.echo(json.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    shapes = request["phases"]
    render_plan(made, console, notes(made, shapes))
    if feedback == "paper":
        render_affordable(affordable_rows(made, shapes), console)
    if search is not None:
        render_search(search, console)
    if cost is not None:
        console.print(_time_needed(made, cost), markup=False, soft_wrap=True)
    if made.verified is not None and made.verified.prv is not None:
        console.print(saving(made, shapes), markup=False, soft_wrap=True)
    file = out if out is not None else "plan.json"
    hint = f"privgen train --plan {file}" + (f" --dataset {shlex.quote(dataset)}" if dataset else " --dataset NAME")
    prefix = "Next: " if out is not None else "Next: the same with --out plan.json, then "
    console.print(prefix + hint + " --out runs/NAME", markup=False, soft_wrap=True)


def _time_needed(made: Plan, cost: StepCost) -> str:
    each = cost.of(made.expected_batch_size)
    return (
        f"Measured here: {each:.3g} s a step of expected batch {made.expected_batch_size:.6g}; "
        f"{made.iterations} steps take about {made.iterations * each / 60:.1f} minutes."
    )
