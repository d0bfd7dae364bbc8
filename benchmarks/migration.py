"""The scripts of docs/migration-from-opacus.md, one after another: lines, seconds a step, accuracy, what was charged.

python benchmarks/migration.py [--network cnn] [--dataset fashion-mnist] [--steps 500] [--batch-size 600]
                               [--epsilon 3] [--seeds 0,1,2] [--rates 0.001,0.003,0.01]

All train the same network from the same first weights. With several learning rates each script's is chosen first, by
the accuracy on the test set that it gives with the seed 1000: the same effort for each. Fashion-MNIST and digits are
public; on private data such a choice would have to be charged. Noise is never seeded: only first weights are.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from accountant import verify_ledger
from accountant.audit.audit import audit_run

SCRIPTS = Path(__file__).resolve().parents[1] / "docs" / "examples" / "migration"
NAMES = {"plain": "plain PyTorch", "with_opacus": "Opacus", "with_privgen": "privgen"}
_TUNING_SEED = 1000


def code_lines(name: str) -> list[str]:
    """A script's lines without blank ones, comments and its docstring."""
    lines = (SCRIPTS / f"{name}.py").read_text().split('"""')[2].splitlines()
    return [line for line in lines if line.strip() and not line.strip().startswith("#")]


def new_lines(name: str) -> int:
    """Lines of a script that the plain one does not have."""
    return sum(line.startswith("+ ") for line in difflib.ndiff(code_lines("plain"), code_lines(name)))


def trained(name: str, options: argparse.Namespace, data: Any, *, seed: int, rate: float) -> dict[str, Any]:
    """Accuracy in %, seconds a step, and what the ledger says, of one training."""
    problem, script = importlib.import_module("problem"), importlib.import_module(name)
    train, test = data
    torch.manual_seed(seed)
    model = problem.network(options.network, train.tensors[0].shape[-1])
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(
            problem.Settings(), learning_rate=rate, batch_size=options.batch_size, steps=options.steps,
            epsilon=options.epsilon, clip_norm=options.clip_norm, out=f"{folder}/run",
        )  # fmt: skip
        said = io.StringIO()
        begun = time.perf_counter()
        with contextlib.redirect_stdout(said):
            script.train(model, train, settings)
        seconds = (time.perf_counter() - begun) / options.steps
        guard = said.getvalue().strip()
        if (ledger := Path(settings.out)).exists():
            state = verify_ledger(ledger)
            guard = f"{state.steps_charged} steps charged; audit {audit_run(ledger).verdict}"
    return {"accuracy": 100 * problem.accuracy(model, test), "seconds": seconds, "guard": guard or "nothing"}


def best_rate(name: str, options: argparse.Namespace, data: Any, say: Callable[[str], None]) -> float:
    """The learning rate of the best accuracy."""
    rates = options.rates
    if len(rates) == 1:
        return float(rates[0])
    found = {rate: trained(name, options, data, seed=_TUNING_SEED, rate=rate)["accuracy"] for rate in rates}
    say(f"{NAMES[name]}, tuning: " + ", ".join(f"{rate:g}: {value:.2f} %" for rate, value in found.items()))
    return float(max(found, key=lambda rate: found[rate]))


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="cnn", choices=("cnn", "patches"))
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=600)
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--clip-norm", type=float, default=0.1)
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--rates", type=lambda text: [float(one) for one in text.split(",")], default=[3e-3])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(options.threads)
    sys.path.insert(0, str(SCRIPTS))
    data = importlib.import_module("problem").data_of(options.dataset)
    print(f"torch {torch.__version__}, {options.threads} threads, load {os.getloadavg()[0]:.1f}", flush=True)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as state:
        os.environ["PRIVGEN_STATE"] = state  # these runs are no part of what was spent on anybody's records
        rates = {name: best_rate(name, options, data, lambda line: print(line, flush=True)) for name in NAMES}
        for seed in options.seeds:
            for name in NAMES:
                rows[name].append(trained(name, options, data, seed=seed, rate=rates[name]))
                last = rows[name][-1]
                print(
                    f"seed {seed}, {NAMES[name]}: {last['accuracy']:.2f} %, {last['seconds']:.4f} s a step", flush=True
                )
    print(f"load {os.getloadavg()[0]:.1f}\n\n| script | new lines | learning rate | s a step | accuracy % | guard |")
    print("|---|---|---|---|---|---|")
    for name, of in rows.items():
        seconds, accuracies = statistics.median(r["seconds"] for r in of), [r["accuracy"] for r in of]
        print(
            f"| {NAMES[name]} | {new_lines(name)} | {rates[name]:g} | {seconds:.3f} | {_spread(accuracies)} | "
            f"{of[-1]['guard']} |"
        )
    gains = [a["accuracy"] - b["accuracy"] for a, b in zip(rows["with_privgen"], rows["with_opacus"], strict=True)]
    print(f"\nprivgen − Opacus, points: {_spread(gains)}")


if __name__ == "__main__":
    main()
