"""`privgen baseline`: train a rival, or a ceiling, to compare with; planned, guarded and audited like any run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from privgen.cli.console import err_console
from privgen.cli.facts import planned_data, state_data
from privgen.cli.option_types import DataName, OneOf
from privgen.cli.plan_risk import warn_of_weakness
from privgen.cli.signals import requests
from privgen.cli.spent_before import tell_spent_before

if TYPE_CHECKING:
    from collections.abc import Collection

    from accountant.plans.plan import Plan
    from privgen.experiments.baselines.recipes import Baseline, Wanted

EPILOG = """\b
Examples:
  privgen baseline dp-gan --epsilon 10 --dataset mnist-5k --out runs/dp-gan
  privgen baseline dp-merf --epsilon 1 --delta 1e-5 --dataset digits --out runs/dp-merf
  privgen baseline privacy-free --epsilon 10 --dataset digits --out runs/ceiling
  privgen compare runs/ours runs/dp-gan runs/dp-merf
"""


def _names() -> Collection[str]:
    from privgen.experiments.baselines.recipes import BASELINES

    return BASELINES


@click.command(epilog=EPILOG)
@click.argument("name", type=OneOf(_names))
@click.option("--epsilon", type=float, required=True, help="ε of the budget, > 0; the ceiling keeps none.")
@click.option("--delta", type=float, help="δ of the budget.  [default: from N, well below 1/N]")
@click.option("--dataset", type=DataName(), required=True, help="Name of the data set, or your own data.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data set's files are.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/DATASET-NAME]")
@click.option("--seed", type=click.IntRange(0, 2**62), default=0, help="Of initial weights; never of noise.")
@click.option("--quick", is_flag=True, help="A form that ends in seconds and says nothing about the rival.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for torch.")
def command(
    name: str,
    epsilon: float,
    delta: float | None,
    dataset: str,
    data_dir: Path | None,
    out: Path | None,
    seed: int,
    quick: bool,
    threads: int | None,
) -> None:
    """Train the rival NAME by the same guard, for the same budget, and leave a run like any other.

    dp-gan: our networks, the critic by DP-SGD. dp-merf: means of random features, released once.
    gs-wgan: sanitised gradients of images, charged as what they are: at ε = 10 certified it may learn nothing.
    dp-classifier: a classifier by DP-SGD on the records, which makes no images. privacy-free: our
    recipe without noise and clipping, a ceiling that promises nothing; sample and audit refuse it.
    """
    import torch

    from accountant.budget import Neighbouring
    from privgen.experiments.baselines.recipes import BASELINES, Wanted

    if threads is not None:
        torch.set_num_threads(threads)
    stated = state_data(
        dataset, None, data_name=None, classes=None, shape=None, resize=None, crop=None, data_dir=data_dir,
        neighbouring=Neighbouring.ADD_OR_REMOVE_ONE,
    )  # fmt: skip
    wanted = Wanted(
        epsilon=epsilon,
        delta=delta,
        dataset=stated.dataset,
        size=stated.size,
        facts=stated.facts,
        quick=quick,
        seed=seed,
    )
    recipe = BASELINES[name]
    plan = _planned(recipe, wanted)
    _train(recipe, wanted, plan, stated.source or dataset, data_dir, out or Path("runs") / f"{stated.dataset}-{name}")


def _planned(recipe: Baseline, wanted: Wanted) -> Plan:
    from accountant.errors import InvalidValue

    try:
        return recipe.plan(wanted)
    except InvalidValue as error:
        raise click.BadParameter(str(error)) from error


def _train(recipe: Baseline, wanted: Wanted, plan: Plan, source: str, data_dir: Path | None, out: Path) -> None:
    from privgen.catalogue import method_named
    from privgen.cli.train import train_to_the_end
    from privgen.training.begin import begin
    from privgen.training.records import ImageRecords
    from privgen.training.session import Options

    method = method_named(recipe.method)
    if method.without_privacy:
        err_console.print(
            "WITHOUT PRIVACY: this run adds no noise to speak of and protects nobody. It is a ceiling to compare with: "
            "privgen sample makes no image of it, and its audit fails.",
            style="bold red",
            markup=False,
            soft_wrap=True,
        )
    with requests() as asked:
        data = planned_data(source, plan, data_dir)
        settings = recipe.settings(plan, wanted)
        if not method.without_privacy:
            tell_spent_before(plan, data)
            warn_of_weakness(plan)
        with begin(
            out, plan=plan, method=method, settings=settings, data=ImageRecords(data), options=Options()
        ) as session:
            train_to_the_end(session, asked)
