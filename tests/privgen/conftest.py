"""A laboratory: tiny records, plans, settings and runs, each a few hundredths of a second."""

import math
import os
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from accountant import BudgetGuard
from accountant.ledger.entry import read_entries
from accountant.ledger.outside_head import OutsideHeads
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from accountant.plans.planned_method import GAN
from accountant.plans.public_facts import PublicFacts
from planners import plan
from privgen.data.records import DataSet, ImageData, identities
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.gan.method import METHOD
from privgen.methods.gan.settings import GanSettings
from privgen.training import private_step
from privgen.training.begin import begin
from privgen.training.loop import StepReport, run
from privgen.training.method import Learner, Method
from privgen.training.records import ImageRecords
from privgen.training.resume import resume
from privgen.training.session import Halted, Options, Session
from privgen.training.state import TrainState, begin_segment

CLASSES = ("a", "b", "c")

# These networks are so small that a second thread does nothing but wait, for minutes where the cores are busy.
torch.set_num_threads(1)

# `privgen` in a process of its own, on one thread.
COMMAND = [sys.executable, "-c", "from privgen.cli import main; main(prog_name='privgen')"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def _split(name: str, count: int, seed: int) -> ImageData:
    generator = np.random.default_rng(seed)
    return ImageData(
        name="synthetic",
        split=name,
        images=generator.integers(0, 256, (count, 16, 16, 1), dtype=np.uint8),
        labels=np.arange(count) % len(CLASSES),
        class_names=CLASSES,
        ids=identities(f"{name}/{row}" for row in range(count)),
    )


def make_data(seed: int = 0, count: int = 200) -> DataSet:
    """Records 16×16 in grey, of three classes."""
    return DataSet("synthetic", _split("train", count, seed), _split("test", 30, seed + 1))


def make_plan(**changes: Any) -> Plan:
    """A plan of these records: without a warm start unless it is asked for, or the method needs one."""
    values: dict[str, Any] = {
        "epsilon": 5.0,
        "delta": 1e-5,
        "dataset": "synthetic",
        "dataset_size": 200,
        "sampling_rate": 0.1,
    }
    if not changes.get("method", GAN).needs_warm_start:
        values["warm_start"] = 0.0
    return plan(**{**values, "iterations": 12, **changes})


# What a plan states of the records of `npz_file`.
OWN_FACTS = PublicFacts(name="scans", classes=("0", "1", "2"), shape=(16, 16, 1))


def make_own_plan(size: int, **changes: Any) -> Plan:
    """A plan for `npz_file`."""
    return make_plan(dataset=None, dataset_size=size, public_facts=OWN_FACTS, **changes)


def make_config(**changes: Any) -> GanSettings:
    values: dict[str, Any] = {"preset": "tiny", "latent_dim": 8, "generator_batch": 4, "checkpoint_every": 100}
    values["physical_batch"] = 24  # batches here are of about twenty
    return GanSettings(**{**values, **changes})


def make_run(
    out: Path,
    *,
    plan: Plan | None = None,
    data: DataSet | None = None,
    config: GanSettings | None = None,
    method: Method = METHOD,
    **options: Any,
) -> Session:
    return begin(
        out,
        plan=plan or make_plan(),
        method=method,
        settings=config or make_config(),
        data=ImageRecords(data or make_data()),
        options=Options(**options),
    )


def resume_run(
    out: Path,
    *,
    plan: Plan | None = None,
    data: DataSet | None = None,
    checkpoint: str | None = None,
    method: Method = METHOD,
    **options: Any,
) -> Session | Halted:
    return resume(
        out, method=method, data=ImageRecords(data or make_data()), plan=plan, checkpoint=checkpoint,
        options=Options(**options),
    )  # fmt: skip


def take(session: Session, steps: int) -> list[StepReport]:
    """The first reports of a run, which then stands still as after a crash: nothing is committed."""
    running = run(session)
    return [next(running) for _ in range(steps)]


def stop_after(session: Session, steps: int) -> list[StepReport]:
    """Reports of a run that is stopped after so many steps, as by Ctrl-C."""
    reports: list[StepReport] = []
    for report in run(session, stop=lambda: len(reports) >= steps):
        reports.append(report)
    return reports


def every_file(folder: Path) -> dict[str, bytes]:
    """All bytes under a folder, by relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def move_in(monkeypatch: pytest.MonkeyPatch, state: Path, out: Path) -> Path:
    """Have a copy of a run be the one run that a machine knows, its state in a folder of its own."""
    monkeypatch.setenv("PRIVGEN_STATE", str(state))
    path = out / "release" / "ledger.jsonl"
    entries = read_entries(path)
    heads = OutsideHeads.of(path, entries[0].digest)
    heads.advance(entries[-1])
    heads.close()
    return out


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    return SimpleNamespace(
        data=make_data,
        plan=make_plan,
        own_plan=make_own_plan,
        own_facts=OWN_FACTS,
        config=make_config,
        begin=make_run,
        resume=resume_run,
        take=take,
        stop_after=stop_after,
        every_file=every_file,
        move_in=move_in,
        command=COMMAND,
        environment=ONE_THREAD,
    )


@pytest.fixture(scope="session")
def halted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went to its halt; only to be read."""
    out = tmp_path_factory.mktemp("halted") / "run"
    with make_run(out, config=make_config(checkpoint_every=5)) as session:
        for _ in run(session):
            pass
    return out


@pytest.fixture(scope="session")
def npz_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records as a user's own file, for commands."""
    data = make_data()
    path = tmp_path_factory.mktemp("own") / "scans.npz"
    np.savez(path, images=data.train.images, labels=data.train.labels)
    return path


class SameNumbers:
    """The same numbers at the same place, whatever was drawn before: in the proof a record keeps its own."""

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1))

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=torch.Generator().manual_seed(2))


def blocks_of(
    kind: str, bands: int, *, shape: tuple[int, ...], others: int, with_record: bool
) -> list[tuple[Tensor, Tensor]]:
    """Two blocks: the record may be drawn in the first step only, the others in every step.

    Args:
        kind: of the images: random, huge, alike, zero, or not finite in the record.
    """
    generator = torch.Generator().manual_seed(others + 1)
    images = torch.randn(others + 1, *shape, generator=generator)
    if kind == "huge":
        images = images * 1e4
    elif kind == "alike":
        images = images[:1].expand(others + 1, *shape).clone()
    elif kind == "zero":
        images = torch.zeros(others + 1, *shape)
    elif kind == "not finite":
        images[-1, 0, 0, 0] = math.inf
    labels = torch.arange(others + 1) % 3
    drawn = [others + (with_record and step == 0) for step in range(2 * bands)]
    return [(images[:keep], labels[:keep]) for keep in drawn]


def sums_before_noise(
    monkeypatch: pytest.MonkeyPatch, learner: Learner, plan: Plan, batches: list[tuple[Tensor, Tensor]]
) -> list[dict[str, Tensor]]:
    """By step and part the sums that would be released, as one vector; the parameters get gradients of zero.

    Each record keeps its numbers in both worlds, as in the proof: here by its place in every pass.
    """
    state, phase = TrainState(learner=learner, beside=cast("RecordNumbers", SameNumbers())), plan.schedule()[-1]
    seen: list[dict[str, Tensor]] = []
    begin_segment(state, plan, plan.event_of(phase))
    guard = BudgetGuard(plan.budget)

    def keep(sums: dict[str, dict[str, Tensor]], **options: Any) -> dict[str, dict[str, Tensor]]:
        seen.append({part: torch.cat([t.flatten() for t in tensors.values()]) for part, tensors in sums.items()})
        return {part: {name: torch.zeros_like(t) for name, t in tensors.items()} for part, tensors in sums.items()}

    monkeypatch.setattr(private_step, "gaussian", keep)
    for records in batches:
        private_step.private_step(
            state, plan, parts=plan.parts_in(phase), receipt=guard.admit(plan.event_of(phase)), records=records,
            noise=ExactGaussian(),
        )  # fmt: skip
    return seen


def squares_moved(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]], part: Part) -> list[int]:
    """By step the square of how far two worlds' sums are apart: of integers, in integers, so nothing is rounded."""
    return [sum(int(v) ** 2 for v in (a[part.name] - b[part.name]).tolist()) for a, b in zip(one, other, strict=True)]


def squared_charge(part: Part, bands: int) -> Fraction:
    """(Δ/h)² of a block, in fractions."""
    squared = Fraction(part.clip_norm) ** 2
    if bands > 1:
        squared += Fraction(part.residual_clip_norm) ** 2 / (bands - 1)
    return squared / Fraction(part.step) ** 2


@pytest.fixture(scope="session")
def neighbours() -> SimpleNamespace:
    """Two worlds, with a record and without, and how far apart they are."""
    return SimpleNamespace(
        SameNumbers=SameNumbers,
        blocks_of=blocks_of,
        sums_before_noise=sums_before_noise,
        squares_moved=squares_moved,
        squared_charge=squared_charge,
    )
