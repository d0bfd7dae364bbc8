"""Faults of the kind that published code has, planted one at a time: the mechanism audit or a neighbour test sees each.

Every check is run on the honest code first, where it must find nothing.
"""

import math

import numpy as np
import pytest
import torch

from accountant import BandedGaussian, Budget, BudgetGuard, Part, SubsampledGaussian
from accountant.ledger import receipt as receipts
from accountant.ledger.receipt import Receipt
from privgen.attacks import worlds
from privgen.attacks.mechanism import attack
from privgen.attacks.worlds import Setting, seeded_coins
from privgen.data.records import identities
from privgen.mechanism import error_feedback, release, sampling
from privgen.mechanism import part_feedback as steps
from privgen.mechanism.error_feedback import FeedbackMemory
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.sampling import PoissonSampler
from privgen.training import loop as train
from privgen.training import resume as resuming

BANDS = 4
BANDED = Setting(
    event=BandedGaussian(sampling_rate=1 / BANDS, noise_multiplier=1.0, bands=BANDS),
    parts=(Part(name="critic", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=1.0),),
    steps=BANDS,
)
PLAIN = Setting(
    event=SubsampledGaussian(sampling_rate=1.0, noise_multiplier=2.0),
    parts=(Part(name="critic", clip_norm=1.0, noise_multiplier=2.0),),
    steps=4,
)


def finds_more_than_is_certified(setting, *, trials=100_000):
    """At δ = 0.01, where a threshold test is nearly the best; wrong with probability below 1e-7."""
    noise = ExactGaussian.insecure_fixed_seed(11)
    options = {"trials": trials, "confidence": 1 - 1e-7, "noise": noise, "coins": seeded_coins(11)}
    return not all(finding.holds for finding in attack("planted", setting, 0.01, **options))


def half_the_noise(monkeypatch):
    honest = ExactGaussian.floored
    monkeypatch.setattr(ExactGaussian, "floored", lambda self, shape, *, std: honest(self, shape, std=std / 2))


def variance_in_place_of_deviation(monkeypatch):
    honest = Part.noise_on_grid
    monkeypatch.setattr(Part, "noise_on_grid", lambda self, bands: (honest(self, bands) * self.step) ** 2 / self.step)


def clipping_at_one_and_a_half_times_the_norm(monkeypatch):
    banded, clipped = steps.banded_weights, steps.clipped_weights

    def loose(norms, *, clip_norm, residual_clip_norm, **options):
        return banded(norms, clip_norm=1.5 * clip_norm, residual_clip_norm=1.5 * residual_clip_norm, **options)

    monkeypatch.setattr(steps, "banded_weights", loose)
    monkeypatch.setattr(
        steps,
        "clipped_weights",
        lambda norms, *, clip_norm, **options: clipped(norms, clip_norm=1.5 * clip_norm, **options),
    )


def norms_that_are_measured_too_small(monkeypatch):
    """As when a layer's part of the norm is forgotten."""
    for name in ("banded_weights", "clipped_weights"):
        honest = getattr(steps, name)
        monkeypatch.setattr(steps, name, lambda norms, honest=honest, **bounds: honest(norms * 0.6, **bounds))


def no_clipping_of_what_is_owed(monkeypatch):
    honest = steps.banded_weights

    def unbounded(norms, *, residual_clip_norm, **options):
        return honest(norms, residual_clip_norm=math.inf, **options)

    monkeypatch.setattr(steps, "banded_weights", unbounded)


def feedback_left_out_of_the_sensitivity(monkeypatch):
    honest = Part.noise_on_grid
    monkeypatch.setattr(Part, "noise_on_grid", lambda self, bands: honest(self, 1))


def all_that_is_owed_paid_in_every_step(monkeypatch):
    """r instead of r/K, K times."""
    honest = FeedbackMemory.window_sum

    def whole(self):
        return {name: (self.bands - 1) * value for name, value in honest(self).items()}

    monkeypatch.setattr(FeedbackMemory, "window_sum", whole)


def a_window_that_forgets_nothing(monkeypatch):
    """Paid back for ever: the block of a draw does not end."""
    honest = FeedbackMemory.push

    def keep(self, residual):
        before = self.window_sum()
        honest(self, {name: value + before[name] for name, value in residual.items()})

    monkeypatch.setattr(FeedbackMemory, "push", keep)


def groups_that_overlap(monkeypatch):
    """Each record belongs to the next group too."""
    honest = PoissonSampler.__init__

    def overlapping(self, *args, **kwargs):
        honest(self, *args, **kwargs)
        groups = self._members
        self._members = [np.union1d(group, groups[index - 1]) for index, group in enumerate(groups)]

    monkeypatch.setattr(PoissonSampler, "__init__", overlapping)


def noise_of_a_step_used_again(monkeypatch):
    """Drawn once and kept: the difference of two steps is free of noise."""
    honest, kept = ExactGaussian.floored, {}

    def same(self, shape, *, std):
        return kept.setdefault(tuple(shape), honest(self, shape, std=std)).copy()

    monkeypatch.setattr(ExactGaussian, "floored", same)


def every_second_step_is_not_charged(monkeypatch):
    honest = BudgetGuard.admit

    def forgetful(self, event, **options):
        last = getattr(self, "_forgotten", None)
        if last is not None:
            self._forgotten = None
            return last
        receipt = honest(self, event, **options)
        number = -1 - self._admitted  # one that was never charged
        self._open[number] = event
        self._forgotten = Receipt(
            event=event, step=receipt.step, cycle=receipt.cycle + 1, guard=self, number=number,
            key=receipts.ISSUED_BY_A_GUARD,
        )  # fmt: skip
        return receipt

    monkeypatch.setattr(BudgetGuard, "admit", forgetful)


TWO_CYCLES = Setting(event=BANDED.event, parts=BANDED.parts, steps=2 * BANDS)
FAULTS = [
    (half_the_noise, PLAIN),
    (half_the_noise, BANDED),
    (variance_in_place_of_deviation, BANDED),
    (clipping_at_one_and_a_half_times_the_norm, PLAIN),
    (clipping_at_one_and_a_half_times_the_norm, BANDED),
    (norms_that_are_measured_too_small, PLAIN),
    (norms_that_are_measured_too_small, BANDED),
    (no_clipping_of_what_is_owed, BANDED),
    (feedback_left_out_of_the_sensitivity, BANDED),
    (all_that_is_owed_paid_in_every_step, BANDED),
    (a_window_that_forgets_nothing, TWO_CYCLES),
    (groups_that_overlap, BANDED),
    (every_second_step_is_not_charged, PLAIN),
]


@pytest.mark.parametrize("setting", [PLAIN, BANDED, TWO_CYCLES], ids=["plain", "banded", "two cycles"])
def test_the_audit_finds_nothing_in_the_honest_code(setting):
    assert not finds_more_than_is_certified(setting)


@pytest.mark.parametrize(("plant", "setting"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_audit_sees_the_fault(plant, setting, monkeypatch):
    plant(monkeypatch)
    assert finds_more_than_is_certified(setting)


class Shuffled(PoissonSampler):
    """Full batches of a permutation, as data loaders make them, one permutation for each trial; a remainder that
    fills no batch is dropped."""

    def __init__(self, ids, *, rows, batch, generator):
        self._rows, self._batch, self._generator = rows, batch, generator
        self._left = np.zeros((rows, 0), dtype=np.int64)
        self._each = len(ids) // rows

    def draw(self, event, cycle):
        if self._left.shape[1] < self._batch:
            self._left = self._generator.permuted(np.tile(np.arange(self._each), (self._rows, 1)), axis=1)
        drawn, self._left = np.split(self._left, [self._batch], axis=1)
        return np.sort((drawn + self._each * np.arange(self._rows)[:, None]).ravel())


def shuffled_setting(batch=4, batches=8):
    """Others with the opposite gradient: a full batch with the record in it lacks one of them."""
    return Setting(
        event=SubsampledGaussian(sampling_rate=1 / batches, noise_multiplier=0.8),
        parts=(Part(name="critic", clip_norm=1.0, noise_multiplier=0.8),),
        steps=batches,
        others=batch * batches - 1,
    )


def shuffle(monkeypatch, trials, batch=4):
    generator = np.random.default_rng(0)

    def shuffled(ids, *, bands, salt, coins):
        return Shuffled(ids, rows=trials, batch=batch, generator=generator)

    monkeypatch.setattr(worlds, "PoissonSampler", shuffled)


def test_full_shuffled_batches_in_place_of_poisson_s_are_seen(monkeypatch):
    setting, trials = shuffled_setting(), 20_000
    assert not finds_more_than_is_certified(setting, trials=trials)
    shuffle(monkeypatch, trials)
    assert finds_more_than_is_certified(setting, trials=trials)


def life_moves(owed, steps_of_it, keep_at=None):
    """What a record that is drawn in step 0 of a life adds to its outputs, squared, and a checkpoint on the way."""
    part, moved, kept = BANDED.parts[0], 0.0, None
    a, r = error_feedback.banded_weights(
        torch.tensor([100.0], dtype=torch.float64), clip_norm=part.clip_norm,
        residual_clip_norm=part.residual_clip_norm, bands=BANDS, grid_step=part.step,
    )  # fmt: skip
    for step in range(steps_of_it):
        drawn = float(step == 0)
        out = error_feedback.apply_feedback(owed, {"w": drawn * 100 * a}, {"w": drawn * 100 * r})
        moved += float((out["w"] * part.step).square().sum())
        if step == keep_at:
            kept = {name: tensor.clone() for name, tensor in owed.tensors().items()}
    return moved, kept


@pytest.mark.parametrize("restored", [False, True])
def test_owed_error_kept_over_a_crash_pays_a_record_out_twice(restored):
    """Two lives are charged as two blocks: what a record adds to both has norm² of at most 2Δ², unless it is kept."""
    like = {"w": torch.zeros(1)}
    first, kept = life_moves(FeedbackMemory(like, BANDS), BANDS, keep_at=0)
    again = FeedbackMemory(like, BANDS)
    if restored:
        again.restore(kept)
    second, _ = life_moves(again, BANDS)
    assert (first + second > 2 * BANDED.parts[0].sensitivity(BANDS) ** 2) == restored


def owes_more_than_one_step(owed):
    """Whether slots beside the newest hold anything."""
    tensors = owed.tensors()
    newest = (int(tensors["oldest"]) - 1) % (owed.bands - 1)
    return any(bool(t.any()) for name, t in tensors.items() if "/" in name and int(name.split("/")[0]) != newest)


def owes_from_before_the_crash(lab, out):
    """Whether the first step after a crash finds anything owed: it must owe its own clipped-away part alone."""
    with lab.begin(out, plan=lab.plan(iterations=150), config=lab.config(checkpoint_every=2)) as running:
        lab.take(running, 3)
    with lab.resume(out) as running:
        lab.take(running, 1)
        return any(owes_more_than_one_step(owed) for owed in running.state.owed.values())


def test_a_run_that_keeps_what_was_owed_over_a_crash_is_seen(lab, tmp_path, monkeypatch):
    assert not owes_from_before_the_crash(lab, tmp_path / "honest")
    restore, begin = resuming.restore, train.begin_segment
    monkeypatch.setattr(resuming, "restore", lambda *args, clean, **options: restore(*args, clean=True, **options))
    monkeypatch.setattr(train, "begin_segment", lambda state, *args: None if state.owed else begin(state, *args))
    assert owes_from_before_the_crash(lab, tmp_path / "planted")


IDS = identities(str(i) for i in range(400))
SALT = bytes(16)


def moves_other_records(make):
    """Whether removing the last record changes who else is drawn, the coins of all others being the same."""
    coins = np.random.default_rng(5).integers(0, 2**64, len(IDS), dtype=np.uint64)
    event = BandedGaussian(sampling_rate=0.1, noise_multiplier=1.0, bands=BANDS)
    for cycle in range(BANDS):
        whole, less = (make(ids, lambda count: coins[:count]).draw(event, cycle) for ids in (IDS, IDS[:-1]))
        if not np.array_equal(whole[whole != len(IDS) - 1], less):
            return True
    return False


def poisson(ids, coins):
    return PoissonSampler(ids, bands=BANDS, salt=SALT, coins=coins)


def test_batches_that_depend_on_how_many_records_there_are_are_seen():
    assert not moves_other_records(poisson)
    assert moves_other_records(
        lambda ids, coins: Shuffled(ids, rows=1, batch=40, generator=np.random.default_rng(0)),
    )


def moves_to_other_groups():
    """Whether removing the first record gives another record another turn."""
    event = BandedGaussian(sampling_rate=1 / BANDS, noise_multiplier=1.0, bands=BANDS)
    for cycle in range(BANDS):
        whole = poisson(IDS, None).draw(event, cycle)
        less = poisson(IDS[1:], None).draw(event, cycle) + 1
        if not np.array_equal(whole[whole != 0], less):
            return True
    return False


def test_a_balanced_split_into_groups_is_seen(monkeypatch):
    assert not moves_to_other_groups()
    monkeypatch.setattr(sampling, "assign_groups", lambda ids, *, bands, salt: np.arange(len(ids)) % bands)
    assert moves_to_other_groups()


def records_of_two_groups():
    """Records that two consecutive steps can draw: with overlapping groups a record is felt at its next chance."""
    sampler = PoissonSampler(IDS, bands=BANDS, salt=SALT)
    event = BandedGaussian(sampling_rate=1 / BANDS, noise_multiplier=1.0, bands=BANDS)
    return np.intersect1d(sampler.draw(event, 0), sampler.draw(event, 1))


def test_overlapping_groups_let_a_record_into_steps_that_are_not_its_turn(monkeypatch):
    assert len(records_of_two_groups()) == 0
    groups_that_overlap(monkeypatch)
    assert len(records_of_two_groups()) > 0


def test_noise_that_is_used_twice_is_seen(monkeypatch):
    def released():
        guard, noise = BudgetGuard(Budget(epsilon=100.0, delta=1e-5)), ExactGaussian()
        outputs = [
            release.gaussian(
                {"critic": {"w": torch.zeros(8, dtype=torch.int64)}}, parts=PLAIN.parts, bands=1,
                receipt=guard.admit(PLAIN.event), noise=noise,
            )["critic"]["w"]
            for _ in range(2)
        ]  # fmt: skip
        return torch.equal(*outputs)

    assert not released()
    noise_of_a_step_used_again(monkeypatch)
    assert released()


def test_releases_outnumber_charges_where_a_step_is_not_charged(monkeypatch):
    """The ledger's own count: as many releases as the guard says were charged."""

    def released_and_charged():
        guard, noise = BudgetGuard(Budget(epsilon=100.0, delta=1e-5)), ExactGaussian()
        for _ in range(6):
            sums = {"critic": {"w": torch.zeros(1, dtype=torch.int64)}}
            release.gaussian(sums, parts=PLAIN.parts, bands=1, receipt=guard.admit(PLAIN.event), noise=noise)
        guard.commit()
        return 6, sum(segment.reserved for segment in guard.segments)

    released, charged = released_and_charged()
    assert released == charged
    every_second_step_is_not_charged(monkeypatch)
    released, charged = released_and_charged()
    assert released > charged
