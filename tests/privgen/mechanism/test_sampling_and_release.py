"""Sampling is Poisson at the charged rate; noise is added once a receipt, with the charged deviation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from accountant import (
    BandedGaussian,
    Budget,
    BudgetGuard,
    HiddenFeedbackGaussian,
    Part,
    ReceiptError,
    SubsampledGaussian,
)
from accountant.errors import InvalidValue
from privgen.data.records import identities
from privgen.errors import ConfigError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.key_stream import KeyStream
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.mechanism.release import gaussian
from privgen.mechanism.sampling import PoissonSampler, assign_groups
from privgen.mechanism.system_generator import system_generator

FALSE_ALARM = 1e-7
IDS = identities(str(i) for i in range(4000))


def test_a_records_group_depends_on_no_other_record():
    groups = assign_groups(IDS, bands=8, salt=b"0123456789abcdef")
    kept = np.delete(np.arange(len(IDS)), [0, 17, 3999])
    assert (assign_groups(IDS[kept], bands=8, salt=b"0123456789abcdef") == groups[kept]).all()
    order = np.random.default_rng(0).permutation(len(IDS))
    assert (assign_groups(IDS[order], bands=8, salt=b"0123456789abcdef") == groups[order]).all()


def test_another_salt_is_another_assignment_and_groups_are_about_equal():
    first = assign_groups(IDS, bands=4, salt=bytes(16))
    second = assign_groups(IDS, bands=4, salt=bytes(15) + b"1")
    assert 0.6 < (first != second).mean() < 0.9
    assert stats.chisquare(np.bincount(first, minlength=4)).pvalue > FALSE_ALARM


def test_one_identity_for_two_records_is_refused():
    with pytest.raises(ConfigError, match="same identity"):
        assign_groups(IDS[[0, 1, 0]], bands=2, salt=bytes(16))


@pytest.mark.parametrize("bands", [1, 4])
def test_each_record_is_drawn_with_the_charged_probability_and_in_its_turn_only(bands):
    q, cycles = 0.05, 400
    event = (
        BandedGaussian(sampling_rate=q, noise_multiplier=1.0, bands=bands)
        if bands > 1
        else SubsampledGaussian(sampling_rate=q, noise_multiplier=1.0)
    )
    sampler = PoissonSampler(IDS, bands=bands, salt=bytes(16))
    groups = assign_groups(IDS, bands=bands, salt=bytes(16))
    drawn = np.zeros(len(IDS))
    sizes = []
    for cycle in range(cycles):
        batch = sampler.draw(event, cycle)
        assert (groups[batch] == cycle % bands).all()
        assert (np.diff(batch) > 0).all()
        drawn[batch] += 1
        sizes.append(len(batch))
    chances = cycles // bands
    total = stats.binomtest(int(drawn.sum()), len(IDS) * chances, bands * q)
    assert total.pvalue > FALSE_ALARM
    # Independent coins: counts of single records spread as a binomial's do, and sizes of batches vary.
    spread = ((drawn - chances * bands * q) ** 2).sum() / (chances * bands * q * (1 - bands * q))
    assert stats.chi2.sf(spread, len(IDS)) > FALSE_ALARM
    assert stats.chi2.cdf(spread, len(IDS)) > FALSE_ALARM
    assert np.std(sizes) > 5


def test_rate_one_takes_everyone_and_tiny_rates_give_empty_batches():
    sampler = PoissonSampler(IDS, bands=1, salt=bytes(16))
    assert len(sampler.draw(SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1.0), 0)) == len(IDS)
    assert len(sampler.draw(SubsampledGaussian(sampling_rate=1e-12, noise_multiplier=1.0), 0)) == 0


def test_an_event_of_other_bands_is_refused():
    sampler = PoissonSampler(IDS, bands=4, salt=bytes(16))
    with pytest.raises(ConfigError, match="bands"):
        sampler.draw(SubsampledGaussian(sampling_rate=0.1, noise_multiplier=1.0), 0)


def test_two_samplers_toss_different_coins():
    event = SubsampledGaussian(sampling_rate=0.5, noise_multiplier=1.0)
    first = PoissonSampler(IDS, bands=1, salt=bytes(16)).draw(event, 0)
    assert not np.array_equal(first, PoissonSampler(IDS, bands=1, salt=bytes(16)).draw(event, 0))


def test_the_key_stream_is_uniform():
    bits = np.unpackbits(KeyStream()(20000).view(np.uint8))
    assert stats.binomtest(int(bits.sum()), len(bits)).pvalue > FALSE_ALARM


PARTS = (
    Part(name="critic", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=2.0),
    Part(name="classifier", clip_norm=1.0, noise_multiplier=4.0),
)
# Nothing is forgiven: a unit in the last place more than the parts have together is refused.
JOINT = math.nextafter(1 / math.sqrt(1 / 4 + 1 / 16), 0.0)


def receipt_for(event):
    return BudgetGuard(Budget(epsilon=100.0, delta=1e-5)).admit(event)


def zeros():
    return {
        "critic": {"w": torch.zeros(200, 500, dtype=torch.int64)},
        "classifier": {"v": torch.zeros(100_000, dtype=torch.int64)},
    }


@pytest.mark.parametrize("kind", ["exact", "seeded"])
def test_the_noise_added_has_the_deviation_that_was_charged(kind):
    source = {"exact": ExactGaussian(), "seeded": ExactGaussian.insecure_fixed_seed(3)}[kind]
    bands = 4
    event = BandedGaussian(sampling_rate=0.01, noise_multiplier=JOINT, bands=bands)
    out = gaussian(zeros(), parts=PARTS, bands=bands, receipt=receipt_for(event), noise=source)
    for part, name in ((PARTS[0], "w"), (PARTS[1], "v")):
        assert out[part.name][name].dtype == torch.int64
        # Floors of it, in steps a millionth of it: half a step is far below what the tests see.
        values = out[part.name][name].double().numpy().ravel() * part.step
        std = part.noise_multiplier * part.sensitivity(bands)
        statistic = float((values**2).sum()) / std**2
        assert min(stats.chi2.cdf(statistic, values.size), stats.chi2.sf(statistic, values.size)) > FALSE_ALARM
        assert stats.kstest(values / std, "norm").pvalue > FALSE_ALARM
    correlation = np.corrcoef(out["critic"]["w"].numpy().ravel(), out["classifier"]["v"].numpy())[0, 1]
    assert abs(correlation) < 0.03


def test_noise_without_a_fresh_receipt_is_refused():
    event = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=4.0)
    parts, sums = PARTS[1:], {"classifier": {"v": torch.zeros(3, dtype=torch.int64)}}
    receipt = receipt_for(event)
    gaussian(sums, parts=parts, bands=1, receipt=receipt, noise=ExactGaussian())
    with pytest.raises(ReceiptError, match="redeemed already"):
        gaussian(sums, parts=parts, bands=1, receipt=receipt, noise=ExactGaussian())


def test_less_noise_than_was_admitted_is_refused_and_uses_nothing_up():
    receipt = receipt_for(SubsampledGaussian(sampling_rate=0.01, noise_multiplier=4.1))
    sums = {"classifier": {"v": torch.zeros(3, dtype=torch.int64)}}
    with pytest.raises(ReceiptError, match="joint noise multiplier"):
        gaussian(sums, parts=PARTS[1:], bands=1, receipt=receipt, noise=ExactGaussian())
    receipt.redeem(receipt.event)


def test_other_bands_than_were_admitted_are_refused():
    receipt = receipt_for(BandedGaussian(sampling_rate=0.01, noise_multiplier=JOINT, bands=2))
    with pytest.raises(ReceiptError, match="bands"):
        gaussian(zeros(), parts=PARTS, bands=4, receipt=receipt, noise=ExactGaussian())


def test_sums_that_are_no_integers_are_not_released():
    receipt = receipt_for(SubsampledGaussian(sampling_rate=0.01, noise_multiplier=4.0))
    sums = {"classifier": {"v": torch.tensor([1.0])}}
    with pytest.raises(ConfigError, match="integers"):
        gaussian(sums, parts=PARTS[1:], bands=1, receipt=receipt, noise=ExactGaussian())
    receipt.redeem(receipt.event)


def test_a_noise_multiplier_one_unit_too_small_is_refused():
    event = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=4.0)
    part = replace(PARTS[1], noise_multiplier=math.nextafter(4.0, 0.0))
    with pytest.raises(ReceiptError, match="joint noise multiplier"):
        gaussian(
            {"classifier": {"v": torch.zeros(3, dtype=torch.int64)}}, parts=(part,), bands=1,
            receipt=receipt_for(event), noise=ExactGaussian(),
        )  # fmt: skip


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_more_feedback_than_was_admitted_is_refused(ratio):
    """An event with ratio 0 once let any C2 through."""
    event = HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=4.0, feedback_ratio=ratio)
    sums = {"classifier": {"v": torch.zeros(3, dtype=torch.int64)}}
    allowed = ratio * 1.0 / (2 * 16.0)
    for c2, fits in ((allowed, True), (math.nextafter(allowed, 1.0), False), (1000.0, False)):
        if c2 and c2 < 1e-12:
            continue
        part = replace(PARTS[1], feedback_clip_norm=c2)
        arguments = {"parts": (part,), "bands": 1, "noise": ExactGaussian(), "batch_size": 16.0}
        if fits:
            gaussian(sums, receipt=receipt_for(event), **arguments)
            continue
        with pytest.raises(ReceiptError, match="ratio"):
            gaussian(sums, receipt=receipt_for(event), **arguments)


def test_the_published_feedback_needs_its_batch_size_and_a_residual_needs_bands():
    sums = {"classifier": {"v": torch.zeros(3, dtype=torch.int64)}}
    event = HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=4.0, feedback_ratio=1.0)
    part = replace(PARTS[1], feedback_clip_norm=0.01)
    with pytest.raises(ReceiptError, match="batch_size"):
        gaussian(sums, parts=(part,), bands=1, receipt=receipt_for(event), noise=ExactGaussian())
    owing = replace(PARTS[1], residual_clip_norm=1.0)
    plain = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=4.0)
    with pytest.raises(ReceiptError, match="residual_clip_norm"):
        gaussian(sums, parts=(owing,), bands=1, receipt=receipt_for(plain), noise=ExactGaussian())


def test_numbers_that_stand_for_two_have_noise_smaller_by_the_root_of_two():
    event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=4.0)
    sums = {
        "classifier": {"one": torch.zeros(200_000, dtype=torch.int64), "two": torch.zeros(200_000, dtype=torch.int64)}
    }
    out = gaussian(
        sums, parts=PARTS[1:], bands=1, receipt=receipt_for(event), noise=ExactGaussian(),
        counted_twice=frozenset({"two"}),
    )["classifier"]  # fmt: skip
    for name, share in (("one", 1.0), ("two", math.sqrt(0.5))):
        values = out[name].double().numpy() * PARTS[1].step
        statistic = float((values**2).sum()) / (4.0 * share) ** 2
        assert min(stats.chi2.cdf(statistic, values.size), stats.chi2.sf(statistic, values.size)) > FALSE_ALARM


def test_two_sources_differ_and_a_fixed_seed_repeats():
    one, two = ExactGaussian(), ExactGaussian()
    assert not np.array_equal(one.floored(8, std=2.0**20), two.floored(8, std=2.0**20))
    same = [ExactGaussian.insecure_fixed_seed(5).floored(8, std=2.0**20) for _ in range(2)]
    assert np.array_equal(*same)


def test_numbers_beside_records_are_normal_and_uniform_and_nobodys_to_guess():
    numbers = RecordNumbers()
    normal, uniform = numbers.normal(300, 1000).numpy().ravel(), numbers.uniform(300_000).numpy()
    assert (
        stats.kstest(normal + 1e-5 * np.random.default_rng(0).standard_normal(normal.size), "norm").pvalue > FALSE_ALARM
    )
    assert abs(normal.mean()) < 6 / normal.size**0.5
    assert abs(normal.var() - 1) < 0.01
    assert stats.kstest(uniform, "uniform").pvalue > FALSE_ALARM
    assert not torch.equal(RecordNumbers().normal(8), RecordNumbers().normal(8))
    same = [RecordNumbers.insecure_fixed_seed(5).normal(8) for _ in range(2)]
    assert torch.equal(*same)


def test_an_event_with_more_groups_than_probability_is_refused():
    with pytest.raises(InvalidValue, match="bands"):
        BandedGaussian(sampling_rate=0.4, noise_multiplier=1.0, bands=4)


def test_the_free_source_uses_all_bits_of_the_operating_system():
    """torch's own seeding keeps 32 bits: runs would repeat each other's images."""
    same = [torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5 + 2**32)]
    assert torch.equal(*same), "torch seeds with more bits now: system_generator can be simplified"
    source = system_generator(torch.device("cpu"))
    words = source.get_state().numpy()[24 : 24 + 8 * 624].view("uint64")
    assert len(set(words.tolist())) > 600
    spread = torch.randn(200_000, generator=source)
    assert abs(float(spread.mean())) < 6 / 200_000**0.5
    assert abs(float(spread.var()) - 1) < 6 * (2 / 200_000) ** 0.5
    assert not torch.equal(spread, torch.randn(200_000, generator=system_generator(torch.device("cpu"))))


@pytest.mark.parametrize("names", [(), ("critic", "encoder"), ("encoder",)])
def test_sums_of_other_parts_than_were_named_are_refused_and_use_nothing_up(names):
    part = Part(name="critic", clip_norm=1.0, noise_multiplier=1.0)
    event = SubsampledGaussian(sampling_rate=0.5, noise_multiplier=1.0)
    receipt = BudgetGuard(Budget(epsilon=1e6, delta=0.5)).admit(event)
    own = {"w": torch.zeros(3, dtype=torch.int64)}
    with pytest.raises(ConfigError, match="Expected sums of"):
        gaussian(dict.fromkeys(names, own), parts=(part,), bands=1, receipt=receipt, noise=ExactGaussian())
    gaussian({"critic": own}, parts=(part,), bands=1, receipt=receipt, noise=ExactGaussian())
