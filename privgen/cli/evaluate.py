"""`privgen evaluate`: gen2real accuracy of a trained generator. Reads private data without privacy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

EPILOG = """\b
Examples:
  privgen evaluate runs/fm
  privgen evaluate runs/fm --samples 60000 --seeds 3 --classifier cnn --classifier logreg
"""

PROTOCOL = "privgen-1"


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--samples", type=click.IntRange(min=100), default=10000, show_default=True, help="Generated images.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Classifiers trained.")
@click.option(
    "--classifier",
    "classifiers",
    type=click.Choice(["cnn", "mlp", "logreg"]),
    multiple=True,
    default=("cnn",),
    show_default=True,
    help="May be given again.",
)
@click.option("--dataset", help="Whose test set to test on.  [default: the plan's]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data set's files are.")
@click.option("--reference-is-public", is_flag=True, help="The test set is public: the result may go into release/.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ...")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for torch.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else, on stdout.")
def command(
    run: Path,
    samples: int,
    seeds: int,
    classifiers: tuple[str, ...],
    dataset: str | None,
    data_dir: Path | None,
    reference_is_public: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """gen2real accuracy of RUN: train a classifier on generated images alone, test it on real ones.

    Classes are balanced, and nothing is selected on the test set. The result is computed on private data
    without privacy, so it is kept in the run's private folder unless the test set is public.
    """
    import torch
    from rich.progress import Progress

    from accountant.files import write_durably
    from privgen.cli.console import console, err_console
    from privgen.data import load_data
    from privgen.generate import load_generator
    from privgen.metrics.gen2real import gen2real
    from privgen.runs import RunFolder

    if threads is not None:
        torch.set_num_threads(threads)
    folder = RunFolder.existing(run)
    generator = load_generator(run).to(torch.device(device))
    test = load_data(dataset or _dataset(folder.plan), data_dir).test
    scores: dict[str, list[float]] = {name: [] for name in classifiers}
    with Progress(console=err_console, transient=True) as progress:
        task = progress.add_task("evaluating", total=seeds * len(classifiers))
        for seed in range(seeds):
            images = generator(samples, seed=seed)
            for name in classifiers:
                labels = generator.labels_for(samples)
                score = gen2real(
                    images, labels, test.images, test.labels, classifier=name, seed=seed, device=torch.device(device)
                )
                scores[name].append(score)
                progress.advance(task)
    result = {
        "schema": "privgen.evaluation/1",
        "protocol": PROTOCOL,
        "dataset": test.name,
        "samples": samples,
        "private": not reference_is_public,
        "gen2real": {name: _summary(values) for name, values in scores.items()},
    }
    place = folder.release if reference_is_public else folder.private / "results"
    place.mkdir(exist_ok=True)
    path = place / "evaluation.json"
    write_durably(path, (json.dumps(result, indent=2) + "\n").encode())
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for name, summary in result["gen2real"].items():
        spread = f" ± {summary['std']:.2%} over {seeds} seeds" if seeds > 1 else ", one seed"
        console.print(
            f"gen2real {name}: {summary['mean']:.2%}{spread} (protocol {PROTOCOL}: {samples} balanced images, "
            f"real test set of {test.name}, {len(test.labels)} images)",
            markup=False,
            soft_wrap=True,
        )
    note = "public by your word" if reference_is_public else "private: it was computed on the data without privacy"
    console.print(f"Kept in {path} ({note}).", markup=False, soft_wrap=True)


def _dataset(plan_path: Path) -> str:
    from accountant.plan import Plan

    name = Plan.load(plan_path).dataset
    if name is None:
        raise click.UsageError("The run's plan names no data set; give --dataset.")
    return name


def _summary(values: list[float]) -> dict[str, Any]:
    import numpy as np

    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "values": values}
