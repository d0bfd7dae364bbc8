"""Steps a second of one, two, … gloo ranks of one thread each, and the share of a step that noise takes.

    python benchmarks/ranks.py --ranks 1 2 --batch 1024
    python benchmarks/ranks.py --batch 1024 --hidden 12590 --pass-alone                 # 10^7 parameters

A classifier of 28×28 images under `PrivateTraining`, made-up records: the convolutional net of the library's pages, or
with --hidden an MLP of one hidden layer of that width. Each rank is a process with one thread; the sizes of the world
take turns, so that what else the machine does meets all. Seconds are medians over steps of whole steps at rank 0, from
the comparison before the step to the update after it; the first step of a run is left out, for it looks at rows.

With --pass-alone one pass of 64 records is timed instead, and the noise of all numbers: what a step of so many passes
spends on noise follows, without the minutes that the row check of so large a model takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accountant.ledger import state_folder
from privgen import PrivateTraining
from privgen.gradients.clipped_sums import private_sums
from privgen.mechanism.error_feedback import banded_weights
from privgen.mechanism.floored_gaussian import ExactGaussian

RECORDS = 8192


def network(hidden: int | None) -> nn.Module:
    """The classifier; (1, 28, 28) → 10."""
    torch.manual_seed(0)
    if hidden is not None:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.Tanh(), nn.Linear(hidden, 10))
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3), nn.Tanh(), nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2), nn.Tanh(), nn.MaxPool2d(2, 1),
        nn.Flatten(), nn.Linear(512, 32), nn.Tanh(), nn.Linear(32, 10),
    )  # fmt: skip


def loss(model: nn.Module, record: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Of one image and its label."""
    return nn.functional.cross_entropy(model(record[0][None])[0], record[1])


class TimedNoise(ExactGaussian):
    """The exact noise, and the seconds that it took."""

    seconds = 0.0

    def floored(self, shape: Any, *, std: float) -> Any:
        """See ExactGaussian."""
        begun = time.perf_counter()
        found = super().floored(shape, std=std)
        TimedNoise.seconds += time.perf_counter() - begun
        return found


def run_rank(out: Path, *, batch: int, steps: int, hidden: int | None, clock: list[float], noise: list[float]) -> None:
    """One rank's run; fills in when each step ended, and the seconds of noise until then."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(RECORDS, 1, 28, 28, generator=generator)
    labels = torch.randint(10, (RECORDS,), generator=generator)
    model = network(hidden)
    training = PrivateTraining(
        model, torch.optim.Adam(model.parameters()), (images, labels), loss=loss, out=out,
        epsilon=8.0, delta=1e-5, batch_size=batch, steps=steps + 1, checkpoint_every=10**6,
    )  # fmt: skip
    training._options = replace(training._options, noise=TimedNoise)
    for _ in training:
        clock.append(time.perf_counter())
        noise.append(TimedNoise.seconds)


def measure(size: int, **settings: Any) -> dict[str, float]:
    """One run of so many ranks, forked from here: seconds of a step at rank 0, and of its noise."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for rank in range(size):
            child = os.fork()
            if not child:
                status = 1
                try:
                    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                                   "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}  # fmt: skip
                    clock: list[float] = []
                    noise: list[float] = []
                    run_rank(Path(folder) / "run", clock=clock, noise=noise, **settings)
                    if rank == 0:
                        (Path(folder) / "found").write_text(json.dumps([clock, noise]))
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if any(statuses):
            raise SystemExit(f"a rank failed; exit statuses by rank, minus the signal where one ended it: {statuses}")
        clock, noise = json.loads((Path(folder) / "found").read_text())
    return {
        "step": statistics.median(b - a for a, b in itertools.pairwise(clock)),
        "noise": statistics.median(b - a for a, b in itertools.pairwise(noise)),
    }


def share_of_noise(batch: int, hidden: int | None) -> str:
    """Seconds of one pass on one rank, of all the noise, and the share of the noise in a step of this batch."""
    model, generator = network(hidden), torch.Generator().manual_seed(0)
    images, labels = torch.randn(64, 1, 28, 28, generator=generator), torch.randint(10, (64,), generator=generator)
    count = sum(p.numel() for p in model.parameters())

    def weigh(norms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return banded_weights(norms, clip_norm=1.0, residual_clip_norm=1.0, bands=2, grid_step=2.0**-20)

    def one_pass() -> object:
        return private_sums(model, lambda x, y: loss(model, (x, y)), (images, labels), weigh, physical_batch=64)

    seconds = {}
    for name, work in {"pass": one_pass, "noise": lambda: ExactGaussian().floored((count,), std=2.0**20)}.items():
        work()
        begun = time.perf_counter()
        work()
        seconds[name] = time.perf_counter() - begun
    passes = -(-batch // 64)
    share = seconds["noise"] / (seconds["noise"] + passes * seconds["pass"])
    return (
        f"{count} parameters: a pass of 64 records {seconds['pass']:.2f} s, all noise {seconds['noise']:.2f} s: "
        f"{share:.1%} of a step of {passes} passes and its noise; load {os.getloadavg()[0]:.1f}"
    )


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=1024, help="expected batch, of all ranks together")
    parser.add_argument("--steps", type=int, default=12, help="timed in each run")
    parser.add_argument("--runs", type=int, default=3, help="of each size, taking turns; the best one counts")
    parser.add_argument("--hidden", type=int, help="width of an MLP instead of the convolutional net")
    parser.add_argument("--pass-alone", action="store_true", help="time one pass and the noise instead of whole runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.pass_alone:
        print(share_of_noise(given.batch, given.hidden))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ[state_folder.VARIABLE] = str(Path(folder) / "state")
        settings = {"batch": given.batch, "steps": given.steps, "hidden": given.hidden}
        found: dict[int, list[dict[str, float]]] = {size: [] for size in given.ranks}
        for _ in range(given.runs):
            for size in given.ranks:
                found[size].append(measure(size, **settings))
    parameters = sum(p.numel() for p in network(given.hidden).parameters())
    machine = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{parameters} parameters, expected batch {given.batch}, {machine}")
    print("| ranks | seconds a step, each run | best | of it noise | × one rank |\n|---|---|---|---|---|")
    first = min(one["step"] for one in found[given.ranks[0]])
    for size, runs in found.items():
        best = min(runs, key=lambda one: one["step"])
        every = ", ".join(f"{one['step']:.3f}" for one in runs)
        share = best["noise"] / best["step"]
        print(f"| {size} | {every} | {best['step']:.3f} | {share:.1%} | {first / best['step']:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
