"""`privgen experiment`: experiments about the method itself, on public data, repeatable from their seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privgen.cli.option_types import DataName, Numbers, Stages
from privgen.cli.suggestions import SuggestingGroup
from privgen.experiments.registry import EXPERIMENTS

if TYPE_CHECKING:
    from privgen.experiments.experiment import Experiment
    from privgen.experiments.records import TrialLog

EPILOG = """\b
Examples:
  privgen experiment list
  privgen experiment ablation --quick --out runs/ablation
  privgen experiment clipping-bias --epsilons 3 --stages tune,match --out runs/bias
  privgen experiment clipping-bias --from docs/results/clipping-bias.jsonl --out runs/again
"""
_HELP = """{question}

Each trial is trained under the budget guard and recorded as one line of results.jsonl when it is done; trials that
are recorded there are not trained again. Settings found by looking at results are legitimate on public data only.
"""
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for results.jsonl, the plot and the tables.  [default: runs/ and the experiment's name]",
    ),
    click.option(
        "--from",
        "source",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Make the plot and the tables from this results.jsonl without training.",
    ),
    click.option("--dataset", type=DataName(), help="A public data set.  [default: the experiment's]"),
    click.option("--data-dir", type=click.Path(path_type=Path), help="Where its files are."),
    click.option("--epsilons", type=Numbers(float, above=0), help="ε of each comparison.  [default: the experiment's]"),
    click.option("--seeds", type=click.IntRange(min=1), help="Fresh seeds.  [default: 3]"),
    click.option("--iterations", type=click.IntRange(min=1), help="T.  [default: the experiment's]"),
    click.option("--quick", is_flag=True, help="Take seconds, to see that it runs; the result means nothing."),
    click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="For torch."),
)
# What some experiments let one choose beside.
_FURTHER: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "clipping-bias": (
        click.option("--task", type=click.Choice(["mlp", "cnn"]), help="The classifier.  [default: mlp]"),
        click.option("--bands", type=Numbers(int, above=1), help="b of banded feedback.  [default: 2,4,8,16]"),
        click.option("--clips", type=Numbers(float, above=0), help="C1 to tune DP-SGD over.  [default: 0.1,0.3,1,3]"),
        click.option("--stages", type=Stages(), help="Parts of the grid.  [default: all]"),
    ),
}


@click.group(cls=SuggestingGroup, epilog=EPILOG)
def command() -> None:
    """Experiments about the method itself. They run on public data and need no plan."""


@command.command("list")
def list_experiments() -> None:
    """The experiments that there are, and the question of each."""
    from rich.box import SIMPLE
    from rich.table import Table

    from privgen.cli.console import console

    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("experiment", no_wrap=True)
    table.add_column("question")
    for name, (_, question) in EXPERIMENTS.items():
        table.add_row(name, question)
    console.print(table)


def _add(name: str, question: str) -> None:
    """The command of one experiment."""

    def run(
        out: Path | None, source: Path | None, data_dir: Path | None, quick: bool, threads: int, **given: Any
    ) -> None:
        from privgen.experiments.records import TrialLog
        from privgen.experiments.registry import experiment_named

        experiment, folder = experiment_named(name), out or Path("runs") / name
        if source is not None:
            log = TrialLog(source, experiment.form)
        else:
            choices = experiment.choices(quick=quick, **{k: v for k, v in given.items() if v is not None})
            log = TrialLog(folder / "results.jsonl", experiment.form)
            _train(experiment, choices, log, data_dir, threads)
        _draw(experiment, log, folder)

    for option in reversed((*_OPTIONS, *_FURTHER.get(name, ()))):
        run = option(run)
    command.command(name, help=_HELP.format(question=question), short_help=question, epilog=EPILOG)(run)


for _name, (_, _question) in EXPERIMENTS.items():
    _add(_name, _question)


def _train(experiment: Experiment[Any], choices: Any, log: TrialLog[Any], data_dir: Path | None, threads: int) -> None:
    """Train what the log does not hold yet."""
    import torch

    from privgen.cli.console import err_console
    from privgen.cli.task_bars import task_bars
    from privgen.experiments.experiment import carry_out

    torch.set_num_threads(threads)
    with task_bars() as update:
        carry_out(
            experiment, choices, log, data_dir, update=update,
            said=lambda text: err_console.print(text, markup=False, soft_wrap=True),
        )  # fmt: skip


def _draw(experiment: Experiment[Any], log: TrialLog[Any], out: Path) -> None:
    """The tables and the plot of what is recorded."""
    import io

    from accountant.files import write_durably
    from privgen.cli.console import console

    finished = experiment.own(log)
    about = f"{experiment.question}\n\nVaried: {experiment.factors}."
    text, drawn = f"{about}\n\n{experiment.tables(finished)}", io.BytesIO()
    experiment.figure(finished).savefig(drawn, format="png", dpi=110)
    out.mkdir(parents=True, exist_ok=True)
    write_durably(out / f"{experiment.name}.md", text.encode())
    write_durably(out / f"{experiment.name}.png", drawn.getvalue())
    console.print(text, markup=False, soft_wrap=True)
    console.print(f"Kept in {out / experiment.name}.md and {experiment.name}.png.", markup=False, soft_wrap=True)
