"""`privgen experiment`: experiments about the method itself, on public data, repeatable from their seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privgen.cli.option_types import DataName, Numbers, Stages
from privgen.cli.suggestions import SuggestingGroup

if TYPE_CHECKING:
    from privgen.experiments.grid import Grid
    from privgen.experiments.settings import Trial

EPILOG = """\b
Examples:
  privgen experiment clipping-bias --quick --out runs/bias
  privgen experiment clipping-bias --epsilons 3 --stages tune,match --out runs/bias
  privgen experiment clipping-bias --from docs/results/clipping-bias.jsonl --out runs/again
"""
# Small enough for a minute on one core; it only shows that the experiment runs.
_QUICK: dict[str, Any] = {
    "epsilons": (3.0,),
    "bands": (2,),
    "seeds": 1,
    "iterations": 60,
    "batch_size": 64,
    "clips": (0.3, 1.0),
    "steps": (0.2, 0.4),
    "stages": ("tune", "match", "critic"),
}


@click.group(cls=SuggestingGroup, epilog=EPILOG)
def command() -> None:
    """Experiments about the method itself. They run on public data and need no plan."""


@command.command("clipping-bias", epilog=EPILOG)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/clipping-bias"),
    show_default=True,
    help="Folder for results.jsonl, the plot and the tables; trials that are finished there are not trained again.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Make the plot and the tables from this results.jsonl without training.",
)
@click.option("--dataset", type=DataName(), default="fashion-mnist", show_default=True, help="A public data set.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where its files are.")
@click.option("--task", type=click.Choice(["mlp", "cnn"]), default="mlp", show_default=True, help="The classifier.")
@click.option("--epsilons", type=Numbers(float, above=0), help="ε of each comparison.  [default: 10,3,1]")
@click.option("--bands", type=Numbers(int, above=1), help="b of banded feedback.  [default: 2,4,8,16]")
@click.option("--clips", type=Numbers(float, above=0), help="C1 to tune DP-SGD over.  [default: 0.1,0.3,1,3]")
@click.option("--seeds", type=click.IntRange(min=1), help="Fresh seeds.  [default: 3]")
@click.option("--iterations", type=click.IntRange(min=1), help="T.  [default: 2000]")
@click.option("--stages", type=Stages(), help="Parts of the grid.  [default: all]")
@click.option("--quick", is_flag=True, help="Take a minute, to see that it runs; the result means nothing.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="For torch.")
def clipping_bias(
    out: Path,
    source: Path | None,
    dataset: str,
    data_dir: Path | None,
    quick: bool,
    threads: int,
    **given: Any,
) -> None:
    """DP-SGD against error feedback at equal certified ε: bias, norms, loss and accuracy.

    Trains small classifiers and a GAN's critic. The budget guard charges every trial. Learning rates are chosen on
    held-out records, which is legitimate on public data only.
    """
    from privgen.experiments.grid import Grid
    from privgen.experiments.records import TrialLog

    if source is None:
        import torch

        torch.set_num_threads(threads)
        chosen = {name: value for name, value in given.items() if value is not None}
        grid = replace(Grid(**_QUICK) if quick else Grid(), **chosen)
        log = TrialLog(out / "results.jsonl")
        _train(grid, log, dataset, data_dir)
    else:
        log = TrialLog(source)
    _draw(log, out)


def _train(grid: Grid, log: Any, dataset: str, data_dir: Path | None) -> None:
    """Train what the log does not hold yet."""
    from rich.progress import Progress

    from privgen.cli.console import err_console
    from privgen.data import load_data
    from privgen.experiments.grid import explore
    from privgen.experiments.records import Finished
    from privgen.experiments.tasks import Records
    from privgen.experiments.training import train

    data = Records.of(load_data(dataset, data_dir))
    with Progress(console=err_console, disable=not err_console.is_terminal) as progress:
        bar = progress.add_task("trial")

        def trainer(stage: str, trial: Trial) -> Any:
            known = log.find(trial)
            if known is not None:
                return known
            progress.reset(bar, total=trial.iterations, description=_described(stage, trial))
            result = train(trial, data, tick=lambda: progress.advance(bar))
            log.add(Finished(stage, trial, result))
            score = result.get("accuracy", result["loss"])
            err_console.print(f"{_described(stage, trial)}: {score:.4g}", markup=False, soft_wrap=True)
            return result

        explore(grid, trainer)


def _described(stage: str, trial: Trial) -> str:
    from privgen.experiments.summary import change_name, method_name

    change = change_name(trial)
    return (
        f"{stage} {trial.task}, ε {trial.epsilon:g}, {method_name(trial)}, C {trial.total_clip:g}, "
        f"η {trial.learning_rate:g}" + ("" if change == "–" else f", {change}") + f", seed {trial.seed}"
    )


def _draw(log: Any, out: Path) -> None:
    from accountant.files import write_durably
    from privgen.cli.console import console
    from privgen.experiments.figure import plot
    from privgen.experiments.tables import tables

    out.mkdir(parents=True, exist_ok=True)
    text = tables(log.all())
    write_durably(out / "clipping-bias.md", text.encode())
    plot(log.all(), out / "clipping-bias.png")
    console.print(text, markup=False, soft_wrap=True)
