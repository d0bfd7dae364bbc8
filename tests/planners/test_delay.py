"""What delay and R/C1 are by counting, and that the weight of delay ranks the runs that we know of as they did."""

import math

import pytest

from accountant.errors import InvalidValue
from accountant.plans.parts import Part
from planners import noise_saved, solve_noise_multiplier
from planners.delay import mean_delay, relative_sensitivity, weight_of_delay


@pytest.mark.parametrize(("bands", "ratio"), [(1, 0.0), (2, 1.0), (4, 3.0), (4, 0.5), (8, 2.0)])
def test_the_mean_delay_is_what_counting_the_payments_gives(bands, ratio):
    kept, owed = 1.0, ratio
    arrivals = [(0, kept), *((k, owed / (bands - 1)) for k in range(1, bands))]
    total = sum(amount for _, amount in arrivals)
    assert mean_delay(bands, ratio) == pytest.approx(sum(k * amount for k, amount in arrivals) / total)


@pytest.mark.parametrize(("bands", "ratio"), [(1, 0.0), (2, 1.0), (4, 3.0), (4, 0.5), (8, 2.0)])
def test_the_sensitivity_is_that_of_a_plans_part(bands, ratio):
    part = Part(name="critic", clip_norm=0.7, residual_clip_norm=0.7 * ratio, noise_multiplier=1.0)
    assert relative_sensitivity(bands, ratio) == pytest.approx(part.sensitivity(bands) / (0.7 * (1 + ratio)))


@pytest.mark.parametrize("bands", [2, 4, 16])
def test_r_of_b_less_one_has_the_least_noise(bands):
    best = relative_sensitivity(bands, bands - 1.0)
    assert best == pytest.approx(1 / math.sqrt(bands))
    assert all(relative_sensitivity(bands, (bands - 1) * share) > best for share in (0.25, 0.5, 0.9, 1.1, 2.0))


def test_noise_saved_is_the_table_of_design_3_1():
    # PLD there: z_1 = 0.522, z_4 = 0.641 gives 1.63 times less noise.
    assert 1 / (1 - noise_saved(0.522 / 0.641, bands=4, residual_ratio=3.0)) == pytest.approx(1.63, abs=0.01)


def proxies(*, epsilon, rate, iterations, bands):
    """Signal to noise with delay, of one batch and number of steps, relative to DP-SGD's."""
    known = {"epsilon": epsilon, "delta": 1e-5, "sampling_rate": rate, "iterations": iterations}
    found = {
        b: weight_of_delay(mean_delay(b, b - 1.0))
        / (solve_noise_multiplier(**known, bands=b) * relative_sensitivity(b, b - 1.0))
        for b in bands
    }
    return {b: value / found[1] for b, value in found.items()}


def test_the_weight_of_delay_ranks_known_runs_as_they_did():
    # docs/results/clipping-bias.md, three seeds: 83.1, 83.4, 83.9, 83.4 and 81.7 % (8 and 1 are not told apart) ...
    three = proxies(epsilon=3.0, rate=256 / 60000, iterations=2000, bands=(1, 2, 4, 8, 16))
    assert three[4] > three[2] > three[1] > three[16] and three[8] == pytest.approx(1.0, abs=0.05)
    # ... and 83.5, 84.0, 84.3, 83.6 and 81.4 %; one seed each: 84.2, 84.8, 84.2 and 80.2 % ...
    ten = proxies(epsilon=10.0, rate=256 / 60000, iterations=2000, bands=(1, 2, 4, 8, 16))
    assert ten[4] > max(ten[2], ten[8]) > ten[1] > ten[16]
    classifier = proxies(epsilon=3.0, rate=512 / 60000, iterations=600, bands=(1, 2, 4, 8))
    assert max(classifier, key=classifier.get) == 2
    assert classifier[8] == min(classifier.values())
    # ... and a GAN, where b = 4 reached 79.7 % and b = 1 75.7 %.
    assert proxies(epsilon=10.0, rate=256 / 60000, iterations=6000, bands=(1, 4))[4] > 1.05


@pytest.mark.parametrize(("bands", "ratio"), [(0, 1.0), (2, -1.0), (2, math.nan)])
def test_values_out_of_range_are_refused(bands, ratio):
    with pytest.raises(InvalidValue):
        mean_delay(bands, ratio)
