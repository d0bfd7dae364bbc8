"""The convolution against prv-accountant's, exact sums, other arithmetic and closed forms; its rounding bound."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import HiddenFeedbackGaussian, Neighbouring, PrvAccountant, SubsampledGaussian
from accountant.composition import convolution
from accountant.composition.convolution import Tilted, convolve, log_moment, tilt
from accountant.composition.discretise import cheaper, costlier
from accountant.composition.gaussian import gaussian_delta, gaussian_epsilon, gaussian_epsilon_bounds
from accountant.composition.loss_cells import LossCells
from accountant.composition.privacy_loss import inverse_log_ratio
from accountant.composition.profile import TiltedSum
from accountant.composition.prv import _epsilon_bounds
from accountant.composition.prv_bounds import Composition
from accountant.composition.scales import Scales
from accountant.errors import PrvFailure
from accountant.mixtures import MixturePair

DELTA, DELTA_ERROR, EPS_ERROR = 1e-5, 1e-8, 0.05
ADD = Neighbouring.ADD_OR_REMOVE_ONE
EVENTS = [
    SubsampledGaussian(sampling_rate=256 / 60000, noise_multiplier=0.65),
    SubsampledGaussian(sampling_rate=0.4, noise_multiplier=3.0),
    SubsampledGaussian(sampling_rate=1e-4, noise_multiplier=0.6),
    HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.0, feedback_ratio=0.02),
]


def gaussian(q, z):
    return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)


class Truncated:
    """A loss in the form that prv-accountant's discretiser asks for: its own cdf, and its mean by quadrature."""

    pm_inf = 0.0

    def __init__(self, pair, low, high, *, forward):
        self.pair, self.forward = pair, forward
        below, above = self.cdf(np.array([low, high]))
        self.mass = above - below
        law = pair.p if forward else pair.q
        means = [mean for _, mean in law.components]
        nodes, weights = np.polynomial.legendre.leggauss(16)
        edges = np.linspace(min(means) - 14 * pair.sigma, max(means) + 14 * pair.sigma, 1025)
        half = (edges[1] - edges[0]) / 2
        x = ((edges[:-1] + half)[:, None] + half * nodes).ravel()
        loss = pair.log_ratio(x) if forward else -pair.log_ratio(x)
        mass = half * np.tile(weights, 1024) * np.exp(pair.log_density(law, x))
        inside = (loss > low) & (loss <= high)
        self.middle = float(np.dot(mass[inside], loss[inside])) / self.mass

    def cdf(self, t):
        x = inverse_log_ratio(self.pair, t if self.forward else -t)
        return self.pair.cdf(self.pair.p, x) if self.forward else self.pair.sf(self.pair.q, x)

    def mean(self):
        return self.middle

    def probability(self, a, b):
        return np.diff(self.cdf(np.append(a, b[-1]).astype(np.float64))) / self.mass


def by_prv_accountant(charges, mesh, reach, *, forward):
    """(lower, estimate, upper) by their discretiser, composer, reading of ε and theorem 5.5."""
    from prv_accountant.composers import Heterogeneous
    from prv_accountant.discretisers import CellCentred
    from prv_accountant.domain import Domain

    half = math.ceil(reach / mesh) + 1
    domain = Domain((1 - half) * mesh, half * mesh, 2 * half)
    ends = (0.5 - half) * mesh, (0.5 + half) * mesh
    laws = [CellCentred().discretise(Truncated(pair, *ends, forward=forward), domain) for pair, _ in charges]
    composed = Heterogeneous(laws).compute_composition([count for _, count in charges])
    return composed.compute_epsilon(DELTA, DELTA_ERROR, EPS_ERROR)


@pytest.mark.parametrize("neighbouring", list(Neighbouring), ids=lambda n: n.value)
@pytest.mark.parametrize(
    "composition", [[(0, 2000)], [(1, 20)], [(2, 3000)], [(3, 300)], [(0, 500), (1, 10), (3, 50)]], ids=str
)
def test_our_upper_bound_is_below_prv_accountants_and_above_its_estimate(composition, neighbouring):
    pytest.importorskip("prv_accountant")
    charges = [(EVENTS[index].dominating_pair(neighbouring), count) for index, count in composition]
    accountant = PrvAccountant(neighbouring)
    for index, count in composition:
        accountant.compose(EVENTS[index], count)
    ours = accountant.get_epsilon_bounds(DELTA)
    mesh = EPS_ERROR / math.sqrt(sum(count for _, count in charges) / 2 * math.log(12 / DELTA_ERROR))
    theirs = [by_prv_accountant(charges, mesh, 14.0, forward=forward) for forward in (True, False)]
    lower, estimate, upper = (max(values) for values in zip(*theirs, strict=True))
    assert lower <= ours.estimate <= ours.upper <= upper
    assert ours.lower <= max(estimate, 0.0) <= ours.upper
    assert ours.estimate == pytest.approx(max(estimate, 0.0), rel=2.5e-3, abs=2e-5)
    assert ours.lower >= 0.95 * ours.estimate


def exact_power(weights, count):
    """The count-fold convolution of a law, in exact fractions."""
    law = [Fraction(float(weight)) for weight in weights]
    total = [Fraction(1)]
    for _ in range(count):
        longer = [Fraction(0)] * (len(total) + len(law) - 1)
        for i, a in enumerate(total):
            for j, b in enumerate(law):
                longer[i + j] += a * b
        total = longer
    return total


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(2, 12), count=st.integers(1, 8))
def test_no_mass_is_further_from_the_exact_one_than_the_bound_says(seed, length, count):
    weights = np.random.default_rng(seed).random(length) ** 4
    weights /= weights.sum()
    sums, error = convolve([(Tilted(weights=weights, first=3, moved=weights), count)], size=128, lowest=3 * count)
    exact = exact_power(weights, count)
    for mass, true in zip(sums, exact, strict=False):
        assert abs(Fraction(float(mass)) - true) <= Fraction(error)
    assert error < 1e-11


def test_on_a_long_grid_the_bound_holds_against_extended_precision():
    """2^16 nodes, 20 000 charges of one law and 500 of another: transforms of 80-bit numbers are the oracle."""
    from scipy.fft import irfft, rfft

    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("no extended precision here")
    size, laws = 1 << 16, []
    for event, count in ((gaussian(256 / 60000, 1.07), 20000), (gaussian(0.02, 2.0), 500)):
        law = costlier(LossCells.of(event.dominating_pair(ADD), mesh=4e-4, reach=10.0))
        laws.append((tilt(law, 5.0, upwards=True)[0], count))
    product, offset = None, 0
    for law, count in laws:
        long = np.zeros(size, dtype=np.longdouble)
        np.add.at(long, np.arange(len(law.weights)) % size, law.weights.astype(np.longdouble))
        factor = rfft(long) ** count
        product = factor if product is None else product * factor
        offset += count * law.first
    exact = irfft(product, size)
    sums, error = convolve(laws, size=size, lowest=offset)
    worst = float(np.max(np.abs(sums - exact)))
    assert 0 < worst <= error
    # It is a bound worth having: far below the masses that matter.
    assert error < 1e-6 * float(sums.max())


def test_a_sum_too_long_for_double_precision_is_refused_and_not_guessed(monkeypatch):
    """A transform that is trusted less makes the bound larger, and then the answer RDP's."""
    monkeypatch.setattr(convolution, "TRANSFORM", 1e13)
    accountant = PrvAccountant().compose(gaussian(0.011, 1.0), 1001)
    bounds = accountant.get_epsilon_bounds(1.1e-5)
    assert bounds.fallback is not None or bounds.upper > 1.02 * bounds.estimate


@settings(max_examples=25, deadline=None)
@given(
    rate=st.floats(1e-6, 0.999), noise=st.floats(0.3, 50.0), forward=st.booleans(), mesh=st.floats(1e-4, 1e-2),
    neighbouring=st.sampled_from(list(Neighbouring)),
)  # fmt: skip
def test_laws_beside_a_loss_keep_what_makes_them_costlier_and_cheaper(rate, noise, forward, mesh, neighbouring):
    """E e^(−Y) is Q's mass: a split law keeps P's and Q's masses, a merged one too, both up to rounding."""
    pair = gaussian(rate, noise).dominating_pair(neighbouring)
    cells = LossCells.of(pair, mesh=mesh, reach=9.6)
    cells = cells if forward else cells.reversed()
    for law, sign in ((costlier(cells), 1), (cheaper(cells), -1)):
        masses = np.exp(law.logs)
        nodes = (law.first + np.arange(len(masses))) * mesh + law.moved
        assert sign * (masses.sum() + law.escaped - 1) >= -1e-15
        assert masses.sum() == pytest.approx(1.0, abs=1e-8)
        # The lowest node of a split law takes P's far tail, whose loss is lower still.
        assert np.dot(masses, np.exp(-nodes)) == pytest.approx(1.0, abs=1e-8)
    assert (np.abs(law.moved) <= mesh).all()


@pytest.mark.parametrize("forward", [True, False])
def test_masses_are_enclosed_far_out_in_both_tails(forward):
    pair = gaussian(1.0, 1.0).dominating_pair(ADD)
    cells = LossCells.of(pair, mesh=0.2, reach=9.6)
    cells = cells if forward else cells.reversed()
    # Y is N(1/2, 1) in both directions.
    edges = np.arange(2 * cells.first, 2 * cells.last + 1) * 0.1
    with mpmath.workdps(30):
        for a, b, low, high in zip(edges, edges[1:], cells.p.low, cells.p.high, strict=False):
            # Each end may be off by the slack, times the density.
            centre = mpmath.mpf(1) / 2
            exact = mpmath.ncdf(b - centre) - mpmath.ncdf(a - centre)
            if a > 0.5:
                exact = mpmath.ncdf(centre - a) - mpmath.ncdf(centre - b)
            room = cells.slack * (mpmath.npdf(a, 0.5, 1) + mpmath.npdf(b, 0.5, 1)) * 1.5
            assert low - room <= exact <= high + room
            assert high - low <= 1e-11 * high + 1e-299


@pytest.mark.parametrize("count", [1, 2, 3, 64, 1000, 20001])
def test_gaussians_compose_to_a_gaussian(count):
    """Numerically, as if there were no closed form: both directions of Gaussians with μ = 1/2 together."""
    pair = gaussian(1.0, 2.0 * math.sqrt(count)).dominating_pair(ADD)
    scales = Scales(
        theta=4.0, others=((12.0, 16.0), (0.001, -12.0)), window=3.2, mesh=2e-2 / math.sqrt(count), reach=9.6
    )
    composition = Composition.of(((pair, count),), scales)
    for way in range(len(composition.ways)):
        above, (below, *_) = composition.above(way), composition.below(way)[0]
        exact = gaussian_delta(0.5, epsilon=1.0)
        assert below.lower_delta(1.0) <= exact <= above.upper_delta(1.0)
        assert above.upper_delta(1.0) <= 1.01 * exact
        assert below.lower_delta(1.0) >= 0.97 * exact


@pytest.mark.parametrize("mu", [1e-6, 0.05, 1.0, 30.0, 60.0, 1e4, 1e6])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-12])
def test_epsilon_of_a_gaussian_is_enclosed_from_nothing_to_billions(mu, delta):
    """At μ = 1e4 the answer was 3e-8 below the truth."""
    low, high = gaussian_epsilon_bounds(mu, delta=delta)
    with mpmath.workdps(60):
        m = mpmath.mpf(mu)

        def exact(epsilon):
            return mpmath.ncdf(m / 2 - epsilon / m) - mpmath.exp(epsilon) * mpmath.ncdf(-m / 2 - epsilon / m)

        assert high == 0 or exact(mpmath.mpf(high)) <= delta
        assert low == 0 or exact(mpmath.mpf(low)) >= delta
        assert exact(mpmath.mpf(0)) <= delta or high > 0
    assert high - low <= (1e-12 + 1e-13 / mu) * high + 1e-18
    assert low <= gaussian_epsilon(mu, delta=delta) <= high


def test_every_record_in_every_batch_at_large_mu_is_not_below_the_truth():
    upper = PrvAccountant().compose(gaussian(1.0, 1e-4)).get_epsilon_bounds(1e-5).upper
    with mpmath.workdps(60):
        m, epsilon = mpmath.mpf(10) ** 4, mpmath.mpf(upper)
        delta = mpmath.ncdf(m / 2 - epsilon / m) - mpmath.exp(epsilon) * mpmath.ncdf(-m / 2 - epsilon / m)
    assert delta <= mpmath.mpf(1e-5)


@pytest.mark.parametrize("event", EVENTS[:2], ids=str)
def test_both_directions_are_composed_whichever_is_first(event):
    """P‖Q costs an add-or-remove pair more than Q‖P; with P and Q exchanged and mirrored it is the other way round."""
    pair = event.dominating_pair(ADD)
    exchanged = MixturePair(p=pair.q.mirrored(), q=pair.p.mirrored(), sigma=pair.sigma)
    ways = [_epsilon_bounds(((one, 300),), DELTA, 0.01, DELTA_ERROR) for one in (pair, exchanged)]
    assert ways[0].fallback is ways[1].fallback is None
    assert ways[0].upper == pytest.approx(ways[1].upper, rel=2e-4)
    assert ways[0].lower == pytest.approx(ways[1].lower, rel=5e-3)


def test_a_moment_is_never_below_the_laws_own():
    law = costlier(LossCells.of(gaussian(0.1, 1.0).dominating_pair(ADD), mesh=1e-2, reach=9.6))
    for theta in (0.0, 0.5, 7.0, -3.0):
        with mpmath.workdps(40):
            exact = mpmath.fsum(
                mpmath.exp(mpmath.mpf(float(log)) + mpmath.mpf(theta) * (law.first + j) * mpmath.mpf(law.mesh))
                for j, log in enumerate(law.logs)
                if np.isfinite(log)
            )
            assert log_moment(law, theta) >= mpmath.log(exact) - mpmath.mpf(10) ** -15
            if theta >= 0:
                up, down = (tilt(law, theta, upwards=upwards)[1] for upwards in (True, False))
                assert down <= mpmath.log(exact) <= up


def test_a_sum_that_is_not_finite_is_refused():
    broken = Tilted(weights=np.array([0.5, math.nan]), first=0, moved=np.zeros(2))
    with pytest.raises(PrvFailure, match="finite"):
        convolve([(broken, 2)], size=8, lowest=0)
    with pytest.raises(PrvFailure, match="nothing"):
        convolve([], size=8, lowest=0)


def test_a_profile_below_the_deltas_is_read_as_no_epsilon():
    assert PrvAccountant().compose(EVENTS[2], 1).get_epsilon_bounds(0.1).upper < 1e-9
    flat = TiltedSum(
        masses=np.full(8, 0.125), lowest=-4, mesh=0.1, shift=0.0, theta=0.0, log_moment=0.0, constant=0.0, lost=0.0
    )
    assert flat.upper_delta(0.35) == pytest.approx(0.0, abs=1e-12)
    assert flat.lower_delta(0.0) == pytest.approx(0.125 * sum(1 - math.exp(-0.1 * k) for k in (1, 2, 3)), rel=1e-9)


@pytest.mark.parametrize(("theta", "window", "reach"), [(0.5, 0.3, 9.0), (2.0, 1.0, 9.0), (2.0, 12.0, 1.0)])
def test_what_lies_outside_of_the_window_or_of_all_cells_is_counted_against_us(theta, window, reach):
    """However badly tilt, window and reach are chosen: what wraps round, lies beyond or was not cut is no gain."""
    pair = gaussian(1.0, 1.0).dominating_pair(ADD)
    tilts = (theta, theta + 1), (theta, theta - 1)
    scales = Scales(theta=theta, others=tilts, window=window, mesh=1e-3, reach=reach)
    composition = Composition.of(((pair, 4),), scales)
    above, below = composition.above(0), composition.below(0)[0]
    first, last = max(0.0, above.ends[0]), above.ends[1]
    for share in (0.0, 0.3, 0.7, 0.99):
        epsilon = first + share * (last - first)
        truth = gaussian_delta(2.0, epsilon=epsilon)
        assert above.upper_delta(epsilon) >= truth and above.upper_deltas(np.array([epsilon]))[0] >= truth
        assert all(one.lower_delta(epsilon) <= truth for one in below)
