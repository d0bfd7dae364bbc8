"""`privgen evaluate`: the quality of generated images, by a named protocol. Reads private data without privacy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from privgen.catalogue import METRICS
from privgen.cli.configuration import ConfiguredCommand
from privgen.cli.encoding import echo_json
from privgen.cli.evaluate_classifier import evaluate_classifier, is_classifier, planned_budget
from privgen.cli.evaluate_gates import asked_of_evaluation, conclude
from privgen.cli.gates import GateOptions, gate_options
from privgen.cli.option_types import DataName, Names

if TYPE_CHECKING:
    import torch

    from privgen.data import DataSet
    from privgen.metrics.evaluation import Evaluation
    from privgen.metrics.request import EvaluationRequest
    from privgen.metrics.result import EvaluationRecord
    from privgen.metrics.sources import Source

EPILOG = """\b
Examples:
  privgen evaluate runs/fm
  privgen evaluate runs/fm --samples 60000 --seeds 3 --classifier cnn --classifier logreg
  privgen evaluate runs/fm --metrics all --seeds 5
  privgen evaluate runs/fm --metrics gen2real,copying --require "gen2real>=0.8,copying<=0.5"
  privgen evaluate generated.npz --dataset mnist --protocol dpdm --inception-weights weights.pth
"""

_NOTHING = "There is no run, .npz file or folder of images at {run}; name one of these."
# Written out, because the module that defines them imports torch.
PROTOCOLS = click.Choice(["privgen-1", "privgen-2", "dpac", "dpdm"])


class EvaluateOptions(GateOptions):
    """What click hands over: one field an option."""

    run: Path
    protocol: str
    metrics: tuple[str, ...] | None
    samples: int | None
    seeds: int
    classifiers: tuple[str, ...]
    features: str | None
    inception_weights: Path | None
    dataset: str | None
    data_dir: Path | None
    reference_is_public: bool
    out: Path | None
    device: str
    threads: int | None
    as_json: bool


@click.command(cls=ConfiguredCommand, epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--protocol", type=PROTOCOLS, default="privgen-1", show_default=True, help="Determines what is not given here."
)
@click.option(
    "--metrics",
    type=Names("all", known=METRICS),
    help=f"Among {','.join(METRICS)}; all: every metric that the images allow.  [default: those of "
    "gen2real,fid,kid,is that the images allow]",
)
@click.option("--samples", type=click.IntRange(min=100), help="Generated images.  [default: the protocol's]")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="For accuracies: mean and std over the seeds.",
)
@click.option(
    "--classifier",
    "classifiers",
    type=click.Choice(["cnn", "mlp", "logreg"]),
    multiple=True,
    help="May be repeated.  [default: the protocol's]",
)
@click.option(
    "--features",
    type=click.Choice(["pixels", "lenet", "imagenet", "inception"]),
    help="Features to compare images by.  [default: the protocol's; privgen-1: lenet for grey 28×28, otherwise pixels; "
    "privgen-2: imagenet]",
)
@click.option(
    "--inception-weights",
    type=click.Path(path_type=Path),
    help="Inception-v3's weight file; nothing is downloaded.  [default: torch-fidelity's cache]",
)
@click.option("--dataset", type=DataName(), help="The real images.  [default: the plan's]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data set's files are.")
@click.option(
    "--reference-is-public",
    is_flag=True,
    help="The data set is public, including its training images: the result may go into release/.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the result.  [default: the run's private/results; for other images evaluation-NAME/]",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ...")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads; with 2 or more, classifiers are trained in parallel with the rest.  [default: one per core]",
)
@click.option("--json", "as_json", is_flag=True, help="Print only the result, as JSON, on stdout.")
@gate_options
def command(**given: Unpack[EvaluateOptions]) -> None:
    """Measure the images of RUN: a run's folder, its release folder, an .npz file, or a folder of images.

    Nothing is selected on the real test set. The result is computed from private data without privacy, so it goes into
    the run's private folder unless the data set is public. Exit status 1 where a gate (--require, --policy) is not met.
    """
    asked = asked_of_evaluation(given)
    if is_classifier(given["run"]):
        conclude(asked, evaluate_classifier(given), on_stdout=not given["as_json"])
        return
    _require_images(given["run"])
    place = _place(given["run"], given["out"], given["reference_is_public"])
    data = _real(given["dataset"], place, given["data_dir"])
    found = _measured(given, data, place.cache)
    result: EvaluationRecord = {
        **found.result,
        "images": given["run"].resolve().name,
        "plan": planned_budget(place.plan),
        "private": not given["reference_is_public"],
        "test_images": len(data.test.labels),
    }
    kept = _keep(found, result, place)
    if given["as_json"]:
        echo_json(result)
    else:
        _show(result, kept)
    conclude(asked, result, on_stdout=not given["as_json"])


def _measured(given: EvaluateOptions, data: DataSet, cache: Path) -> Evaluation:
    import torch

    from privgen.cli.devices import device_of
    from privgen.cli.task_bars import task_bars
    from privgen.metrics.cache import Cache
    from privgen.metrics.evaluation import evaluate

    where = device_of(given["device"])
    source = _source(given["run"], where, data.train.class_names)
    request = _request(given, data, labelled=source.labelled)
    processes, each = _processes(request, given["threads"] or torch.get_num_threads(), where)
    torch.set_num_threads(each)
    with task_bars() as progress:
        return evaluate(
            source,
            data,
            request,
            cache=Cache(cache),
            inception_weights=given["inception_weights"],
            device=where,
            processes=processes,
            threads=each,
            progress=progress,
        )


def _request(given: EvaluateOptions, data: DataSet, *, labelled: bool) -> EvaluationRequest:
    """What is asked for, or what the protocol and these images suggest."""
    from privgen.catalogue import DEFAULT_METRICS
    from privgen.metrics import protocols
    from privgen.metrics.reference import has_several_classes
    from privgen.metrics.request import EvaluationRequest, possible_metrics

    by, features = protocols.PROTOCOLS[given["protocol"]], given["features"]
    inception = given["inception_weights"] is not None or "inception" in (features, by.features)
    shape, several = data.train.images.shape[1:], has_several_classes(data)
    possible = possible_metrics(shape, labelled=labelled, inception=inception, several_classes=several)
    return EvaluationRequest(
        protocol=by,
        metrics=_chosen(given["metrics"], possible, DEFAULT_METRICS, labelled=labelled, several=several),
        samples=given["samples"],
        seeds=given["seeds"],
        classifiers=given["classifiers"],
        features=features,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """results: folder of the result; images: folder of the pairs, which show training images; plan: states the data.

    source: how the run's data are loaded, or None.
    """

    results: Path
    images: Path
    cache: Path
    plan: Path
    source: str | None = None


def _place(run: Path, out: Path | None, public: bool) -> Place:
    from privgen.metrics.cache import user_cache

    if (run / "release").is_dir() and (run / "private").is_dir():
        from privgen.training.run_folder import RunFolder

        folder = RunFolder.existing(run)
        hidden = folder.private / "results"
        results = out or (folder.release if public else hidden)
        return Place(
            results=results,
            images=out or hidden,
            cache=folder.private / "cache",
            plan=folder.plan,
            source=folder.source(),
        )
    results = out or Path(f"evaluation-{run.resolve().stem}")
    return Place(results=results, images=results, cache=user_cache(), plan=run / "plan.json")


def _source(run: Path, device: torch.device, class_names: tuple[str, ...]) -> Source:
    from privgen.errors import RunError
    from privgen.generate import load_generator
    from privgen.metrics.sources import GeneratorSource, read_images

    if (run / "release").is_dir() or (run / "generator.json").exists():
        return GeneratorSource(load_generator(run, without_privacy=True).to(device))
    if run.suffix == ".npz" or run.is_dir():
        return read_images(run, class_names)
    raise RunError(_NOTHING.format(run=run))


def _require_images(run: Path) -> None:
    """Before the real data are read: there is something to measure."""
    from privgen.errors import RunError

    if not run.is_dir() and not (run.is_file() and run.suffix == ".npz"):
        raise RunError(_NOTHING.format(run=run))
    if (run / "private").is_dir() and not (run / "release" / "generator.json").is_file():
        raise RunError(f"{run} has released no generator yet; train it to its halt: privgen train --resume.")


def _real(given: str | None, place: Place, data_dir: Path | None) -> DataSet:
    """The real images; by the plan's public facts, if there is a plan and they are the run's own data."""
    from accountant.plans.plan import Plan
    from privgen.catalogue import DATASETS, is_own, source_name
    from privgen.data import load_data

    plan = Plan.load(place.plan) if place.plan.exists() else None
    name = given or place.source or (plan.dataset if plan is not None else None)
    if name is None or (given is None and name not in DATASETS and not is_own(name)):
        raise click.UsageError("There is no run here that says where the real data are; give --dataset.")
    own = plan is not None and is_own(source_name(name)) and plan.dataset not in DATASETS
    return load_data(name, data_dir, facts=plan.public_facts if own and plan is not None else None)


def _chosen(
    asked: tuple[str, ...] | None,
    possible: tuple[str, ...],
    default: tuple[str, ...],
    *,
    labelled: bool,
    several: bool,
) -> tuple[str, ...]:
    """The metrics to measure. One that was asked for by name is never skipped: it is measured, or an error."""
    from privgen.cli.console import warn

    if asked is not None and "all" not in asked:
        return asked
    chosen = possible if asked else tuple(name for name in default if name in possible)
    if not several:
        warn(
            "The real training images are of one class, in which a classifier is always right: accuracies and a "
            "LeNet's Inception Score and features mean nothing and are skipped."
        )
    elif not labelled:
        warn("These images have no labels: gen2real and real2gen are skipped.")
    if several and asked and "is" not in possible:
        warn("The Inception Score of these images needs --inception-weights; it is skipped.")
    return chosen


def _processes(request: EvaluationRequest, threads: int, device: torch.device) -> tuple[int, int]:
    """Processes that train classifiers in parallel with this one, and the threads of each."""
    from privgen.catalogue import ACCURACIES

    if threads == 1 or device.type != "cpu" or not request.trainings:
        return 0, threads
    count = min(threads, request.trainings)
    alone = set(request.metrics) <= set(ACCURACIES)
    return count, max(1, threads // (count if alone else count + 1))


def _keep(found: Evaluation, result: EvaluationRecord, place: Place) -> list[Path]:
    """Write the result, its table, a grid of generated images, and the closest pairs, never into release/."""
    from accountant.files import write_durably
    from privgen.data.export import write_grid
    from privgen.metrics.protocols import DEFAULT
    from privgen.metrics.text import markdown

    for folder in {place.results, place.images}:
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o700)
    # One protocol's result does not replace another's.
    stem = "evaluation" if result["protocol"] == DEFAULT else f"evaluation-{result['protocol']}"
    kept = [place.results / f"{stem}{end}" for end in (".json", ".md", "-samples.png")]
    write_durably(kept[0], (json.dumps(result, indent=2) + "\n").encode())
    write_durably(kept[1], markdown(result).encode())
    write_grid(found.sample, kept[2], columns=10)
    if found.closest is not None:
        kept.append(place.images / f"{stem}-closest.png")
        write_grid(found.closest, kept[3], columns=8)
    return kept


def _show(result: EvaluationRecord, kept: list[Path]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from privgen.cli.console import console
    from privgen.metrics.text import HEADINGS, departures, heading, note, rows

    table = Table(box=SIMPLE, pad_edge=False)
    for name in HEADINGS:
        table.add_column(name, overflow="fold", no_wrap=name == "value", justify="right" if name == "value" else "left")
    for row in rows(result):
        table.add_row(*(Text(cell) for cell in row.cells()))
    console.print(heading(result), markup=False, soft_wrap=True)
    console.print(table)
    if marked := departures(result):
        console.print(marked, markup=False, soft_wrap=True)
    console.print(note(result), markup=False, soft_wrap=True)
    console.print(f"Kept in {kept[0]}, {kept[1].name} and {kept[2].name}.", markup=False, soft_wrap=True)
    for path in kept[3:]:
        console.print(f"Closest pairs in {path}, which shows training images.", markup=False, soft_wrap=True)
