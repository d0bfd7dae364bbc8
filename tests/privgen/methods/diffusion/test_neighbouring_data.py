"""Neighbouring data through the whole of a diffusion run: one record moves a step by no more than is charged, and
nothing else that the run keeps depends on any record. Faults are planted in each, and seen.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from accountant import BudgetGuard
from privgen.catalogue import METHODS
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.methods.diffusion.learner import DiffusionLearner
from privgen.methods.diffusion.method import METHOD
from privgen.methods.diffusion.settings import DiffusionSettings
from privgen.training import private_step as steps
from privgen.training import statistics_step as warm
from privgen.training.method import RecordFacts, RecordTask
from privgen.training.private_step import private_step
from privgen.training.state import TrainState, begin_segment
from privgen.training.statistics_step import statistics_step

SHAPE, OTHERS = (1, 16, 16), 6
DIFFUSION = METHODS["diffusion"].planned


@dataclass
class Records:
    """As a warm start reads them."""

    images: np.ndarray
    labels: np.ndarray


def everything(seed, count):
    generator = np.random.default_rng(seed)
    return Records(generator.integers(0, 256, (count, 16, 16, 1), dtype=np.uint8), np.arange(count) % 3)


def new_learner(made, **changed):
    settings = DiffusionSettings(
        **{
            "preset": "tiny", "mixture_clusters": 2, "mixture_frequencies": 4, "mixture_rank": 3, "physical_batch": 32,
            "draws": 3, "rate": 1e-30, **changed,
        }
    )  # fmt: skip
    facts = RecordFacts(shape=SHAPE, class_names=("a", "b", "c"))
    return METHOD.begin(made, facts, settings, latents=torch.Generator().manual_seed(0))


def released_sums(monkeypatch, neighbours, made, batches):
    """The sums of each step before noise, at parameters that stay where they are."""
    learner = new_learner(made)
    torch.manual_seed(0)
    torch.nn.init.normal_(learner.denoiser.network.leave.weight, std=0.1)
    learner.denoiser.mixture.centres.normal_(std=0.05)
    learner.after_statistics()
    return neighbours.sums_before_noise(monkeypatch, learner, made, batches)


def moved_beyond_charge(monkeypatch, lab, neighbours, kind, feedback, bands):
    """Whether one record moves a block's sums by more than the plan charges; all in integers."""
    made = lab.plan(
        method=DIFFUSION, epsilon=10.0, sampling_rate=0.1, iterations=8, feedback=feedback,
        bands=bands if feedback == "banded" else None,
    )  # fmt: skip
    one, other = (
        released_sums(
            monkeypatch, neighbours, made,
            neighbours.blocks_of(kind, bands, shape=SHAPE, others=OTHERS, with_record=with_record),
        )
        for with_record in (True, False)
    )  # fmt: skip
    (part,) = made.parts
    moved, charged = neighbours.squares_moved(one, other, part), neighbours.squared_charge(part, bands)
    if kind == "huge":
        assert sum(moved) >= 0.25 * charged
    return sum(moved) > charged or any(moved[bands:])


@pytest.mark.parametrize("kind", ["random", "huge", "alike", "zero", "not finite"])
@pytest.mark.parametrize(("feedback", "bands"), [("none", 1), ("banded", 4)])
def test_one_record_with_all_its_draws_moves_a_block_by_no_more_than_is_charged(
    monkeypatch, lab, neighbours, kind, feedback, bands
):
    assert not moved_beyond_charge(monkeypatch, lab, neighbours, kind, feedback, bands)


@pytest.mark.parametrize(("feedback", "bands"), [("none", 1), ("banded", 4)])
def test_draws_that_are_clipped_apart_are_seen(monkeypatch, lab, neighbours, feedback, bands):
    """K gradients of length C for one record: K times what is charged."""

    def apart(self, records, weighting, *, physical_batch):
        images, labels = (rows.repeat_interleave(3, 0) for rows in records)

        def single(size):
            normal, sigma = self.beside(size)
            return normal[:, :1], sigma[:, :1]

        whole = RecordTask(module=self.module, loss=self.loss, beside=single)
        return honest(whole, (images, labels), weighting, physical_batch=physical_batch)

    honest = RecordTask.sums
    monkeypatch.setattr(RecordTask, "sums", apart)
    assert moved_beyond_charge(monkeypatch, lab, neighbours, "huge", feedback, bands)


def kept_after_a_run(monkeypatch, lab, neighbours, seed, count):
    """Everything that a learner keeps after the warm start and two steps on these records, where what is released is
    the same whatever they are."""
    made = lab.plan(method=DIFFUSION, iterations=8)
    learner = new_learner(made, rate=1e-2)
    records = everything(seed, count)
    guard = BudgetGuard(made.budget)

    def constant(sums, **options):
        generator = torch.Generator().manual_seed(5)
        return {
            part: {name: torch.randint(-99, 999, t.shape, generator=generator) for name, t in tensors.items()}
            for part, tensors in sums.items()
        }

    for module in (warm, steps):
        monkeypatch.setattr(module, "gaussian", constant)
    for release in made.warm_start.releases():
        receipt = guard.admit(release.event)
        statistics_step(learner, made, receipt=receipt, records=records, noise=ExactGaussian())
    state, phase = TrainState(learner=learner, beside=neighbours.SameNumbers()), made.schedule()[-1]
    begin_segment(state, made, made.event_of(phase))
    images = torch.from_numpy(records.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    for step in range(2):
        private_step(
            state, made, parts=made.parts_in(phase), receipt=guard.admit(made.event_of(phase)),
            records=(images, torch.from_numpy(records.labels)), noise=ExactGaussian(),
        )  # fmt: skip
        learner.free_step(step / 8, step)
    return {
        f"{name}.{key}": tensor.clone()
        for name, module in (("denoiser", learner.denoiser), ("averaged", learner.averaged))
        for key, tensor in [*module.named_parameters(), *module.named_buffers()]
    }


def depends_on_the_records(monkeypatch, lab, neighbours):
    """Names of what differs between two data sets whose releases were the same."""
    one, other = (kept_after_a_run(monkeypatch, lab, neighbours, seed, count) for seed, count in ((0, 30), (1, 31)))
    return [name for name in one if not torch.equal(one[name], other[name])]


def test_given_what_was_released_nothing_that_is_kept_depends_on_a_record(monkeypatch, lab, neighbours):
    assert depends_on_the_records(monkeypatch, lab, neighbours) == []


def test_an_ideal_denoiser_made_of_the_data_is_seen(monkeypatch, lab, neighbours):
    """The sums of a release, before its noise, find their way into the mixture."""
    honest = DiffusionLearner.after_statistics
    from privgen.methods.class_mixture.statistics import MixtureStatistics

    raw, sums = {}, MixtureStatistics.sums

    def overheard(self, release, records, *, grid_step):
        found = sums(self, release, records, grid_step=grid_step)
        raw[release.kind] = found
        return found

    def from_the_data(self):
        honest(self)
        if "means" in raw:
            means = raw["means"]["sums"][:, 0, :-1].float()  # (classes, d)
            self.denoiser.ideal.offsets.copy_(means / means.norm())

    monkeypatch.setattr(MixtureStatistics, "sums", overheard)
    monkeypatch.setattr(DiffusionLearner, "after_statistics", from_the_data)
    assert "denoiser.ideal.offsets" in depends_on_the_records(monkeypatch, lab, neighbours)


def test_a_floor_taken_from_the_data_is_seen(monkeypatch, lab, neighbours):
    from privgen.methods.class_mixture.statistics import MixtureStatistics
    from privgen.methods.diffusion import mixture_denoiser

    raw, sums = {}, MixtureStatistics.sums
    update = mixture_denoiser.MixtureDenoiser.update

    def overheard(self, release, records, *, grid_step):
        raw["variance"] = float(records.images.var())
        return sums(self, release, records, grid_step=grid_step)

    def from_the_data(self, mixture):
        update(self, mixture)
        self.floor.fill_(raw.get("variance", 1.0) / 127.5**2)

    monkeypatch.setattr(MixtureStatistics, "sums", overheard)
    monkeypatch.setattr(mixture_denoiser.MixtureDenoiser, "update", from_the_data)
    assert "denoiser.ideal.floor" in depends_on_the_records(monkeypatch, lab, neighbours)
