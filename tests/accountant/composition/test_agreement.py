"""Agreement with dp_accounting and Opacus over a grid, and who is right where they and we differ."""

import itertools
import math
import warnings

import numpy as np
import pytest

from accountant import Neighbouring, PrvAccountant, RdpAccountant, SubsampledGaussian
from accountant.composition.gaussian import gaussian_epsilon
from accountant.composition.renyi import curve

dp = pytest.importorskip("dp_accounting")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    opacus_rdp = pytest.importorskip("opacus.accountants.analysis.rdp")
from dp_accounting.pld import privacy_loss_distribution as pld  # noqa: E402

RATES = (1e-4, 0.004, 0.02, 0.1, 0.5, 1.0)
NOISES = (0.5, 1.0, 2.0, 8.0)
STEPS = (1, 50, 2000)
DELTAS = (1e-3, 1e-5, 1e-8)
SETTINGS = list(itertools.product(RATES, NOISES, STEPS))
CORNERS = [
    (1e-8, 1.0, 10**8),
    (1e-8, 0.3, 1),
    (1e-4, 0.05, 1),
    (0.9, 0.3, 1),
    (0.5, 0.05, 3),
    (1.0, 1000.0, 10**8),
    (0.001, 1000.0, 10**8),
    (0.999999, 3.0, 100),
]
OPACUS_ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
INTEGERS = [*range(2, 65), 80, 128, 256, 512]


def test_the_grid_has_at_least_200_points():
    assert len(SETTINGS) * len(DELTAS) >= 200


def gaussian(q, z):
    return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)


@pytest.mark.parametrize(("q", "z", "steps"), SETTINGS)
def test_prv_lower_is_at_most_pld_which_is_at_most_rdp(q, z, steps):
    """PLD is dp_accounting's, pessimistic, so that it is an upper bound whatever its mesh."""
    rdp = RdpAccountant().compose(gaussian(q, z), steps)
    size = rdp.get_epsilon(1e-5)
    prv = PrvAccountant(eps_error=max(0.01, size / 50)).compose(gaussian(q, z), steps)
    mesh = min(max(1e-4, size / 2000) / max(1.0, math.sqrt(steps) / 4), 0.05)
    theirs = pld.from_gaussian_mechanism(z, sampling_prob=q, value_discretization_interval=mesh).self_compose(steps)
    for delta in DELTAS:
        upper = theirs.get_epsilon_for_delta(delta)
        bounds = prv.get_epsilon_bounds(delta)
        assert bounds.lower <= upper <= rdp.get_epsilon(delta)
        assert bounds.fallback is None
        assert bounds.estimate == pytest.approx(upper, rel=0.02, abs=0.03)


@pytest.mark.parametrize(("q", "z", "steps"), SETTINGS)
def test_rdp_is_opacus_at_opacus_orders(q, z, steps):
    mine = RdpAccountant(orders=OPACUS_ORDERS).compose(gaussian(q, z), steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rdp = opacus_rdp.compute_rdp(q=q, noise_multiplier=z, steps=steps, orders=OPACUS_ORDERS)
        for delta in DELTAS:
            theirs = float(opacus_rdp.get_privacy_spent(orders=OPACUS_ORDERS, rdp=rdp, delta=delta)[0])
            # They have no Bretagnolle–Huber bound: where ours says 0, theirs is above it.
            assert mine.get_epsilon(delta) == pytest.approx(theirs, rel=1e-6, abs=1e-9) or mine.get_epsilon(delta) == 0


@pytest.mark.parametrize(("q", "z", "steps"), SETTINGS + CORNERS)
def test_rdp_is_dp_accounting_at_integer_orders(q, z, steps):
    mine = RdpAccountant(orders=INTEGERS).compose(gaussian(q, z), steps)
    theirs = dp.rdp.RdpAccountant(INTEGERS)
    theirs.compose(dp.PoissonSampledDpEvent(q, dp.GaussianDpEvent(z)), steps)
    for delta in DELTAS:
        # Their series ends in log(1 + tiny), which loses 1e-15 a step; ours has 2e-12 of itself (test_renyi, mpmath).
        rounding = 1e-8 + 1e-15 * steps
        assert mine.get_epsilon(delta) == pytest.approx(theirs.get_epsilon(delta), rel=1e-6, abs=rounding)


def test_at_the_default_orders_we_are_never_above_opacus_by_more_than_rounding():
    for q, z, steps in SETTINGS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rdp = opacus_rdp.compute_rdp(q=q, noise_multiplier=z, steps=steps, orders=INTEGERS[:60])
            theirs = float(opacus_rdp.get_privacy_spent(orders=INTEGERS[:60], rdp=rdp, delta=1e-5)[0])
        assert RdpAccountant().compose(gaussian(q, z), steps).get_epsilon(1e-5) <= theirs * (1 + 1e-6) + 1e-9


def test_a_fractional_order_that_dp_accounting_gives_up_is_finite():
    """q = 0.2, σ = 1, α = 1.5: their series of absolute values is infinite; mpmath says 0.04397 (row 18)."""
    theirs = dp.rdp.RdpAccountant([1.5])
    theirs.compose(dp.PoissonSampledDpEvent(0.2, dp.GaussianDpEvent(1.0)))
    mine = float(curve(gaussian(0.2, 1.0), Neighbouring.ADD_OR_REMOVE_ONE, np.array([1.5]))[0])
    assert not theirs.get_epsilon(1e-5) < 100
    assert mine == pytest.approx(0.0439705094500238, rel=1e-9)


def test_orders_that_stop_at_63_put_a_floor_under_opacus():
    """σ = 1000: the exact ε is 0 at δ = 1e-3 and tiny at 1e-5; a grid of small orders cannot say so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rdp = opacus_rdp.compute_rdp(q=1.0, noise_multiplier=1000.0, steps=1, orders=OPACUS_ORDERS)
        theirs = float(opacus_rdp.get_privacy_spent(orders=OPACUS_ORDERS, rdp=rdp, delta=1e-5)[0])
    mine = RdpAccountant().compose(gaussian(1.0, 1000.0)).get_epsilon(1e-5)
    exact = gaussian_epsilon(1 / 1000.0, delta=1e-5)
    assert theirs > 0.1
    assert exact <= mine < 0.02


def test_replace_one_doubles_the_distance_where_dp_accountings_rdp_does_not():
    """Replacing a record moves a sum by 2·C: the Gaussian mechanism's μ is 2/σ. Exact: Balle & Wang 2018."""
    theirs = dp.rdp.RdpAccountant(INTEGERS, dp.NeighboringRelation.REPLACE_ONE)
    theirs.compose(dp.GaussianDpEvent(2.0), 3)
    mine = RdpAccountant(Neighbouring.REPLACE_ONE, orders=INTEGERS).compose(gaussian(1.0, 2.0), 3)
    exact = gaussian_epsilon(2 * math.sqrt(3) / 2.0, delta=1e-5)
    assert theirs.get_epsilon(1e-5) < exact <= mine.get_epsilon(1e-5)
    assert PrvAccountant(Neighbouring.REPLACE_ONE).compose(gaussian(1.0, 2.0), 3).get_epsilon(1e-5) >= exact


def test_the_central_limit_figure_is_below_what_is_true():
    """Opacus' GDP says 2.970 for row 22; PLD says 3.034, and our certified lower bound is above 2.970 too."""
    gdp = pytest.importorskip("opacus.accountants.gdp").GaussianAccountant()
    gdp.history = [(1.07, 256 / 60000, 20000)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        claimed = gdp.get_epsilon(1e-5)
    assert claimed < PrvAccountant().compose(gaussian(256 / 60000, 1.07), 20000).get_epsilon_bounds(1e-5).lower


def test_every_record_in_every_batch_for_long_fails_in_prv_accountant_and_is_exact_here():
    """q = 1, σ = 1, T = 20000: their discretisation gives up; the Gaussian mechanism of μ = √T has a closed form."""
    theirs = pytest.importorskip("prv_accountant")
    mechanism = theirs.PoissonSubsampledGaussianMechanism(sampling_probability=1.0, noise_multiplier=1.0)
    with pytest.raises(RuntimeError, match="Discrete mean differs"):
        theirs.PRVAccountant(mechanism, max_self_compositions=20000, eps_error=50.0, delta_error=1e-8)
    bounds = PrvAccountant().compose(gaussian(1.0, 1.0), 20000).get_epsilon_bounds(1e-5)
    assert bounds.estimate == pytest.approx(gaussian_epsilon(math.sqrt(20000), delta=1e-5), rel=1e-12)
    assert bounds.fallback is None


def test_prv_accountants_lower_bound_may_be_negative_and_ours_is_not():
    theirs = pytest.importorskip("prv_accountant")
    mechanism = theirs.PoissonSubsampledGaussianMechanism(sampling_probability=1e-4, noise_multiplier=8.0)
    accountant = theirs.PRVAccountant(mechanism, max_self_compositions=1, eps_error=0.1, delta_error=1e-8)
    assert accountant.compute_epsilon(1e-5, 1)[0] < 0
    assert PrvAccountant(eps_error=0.1).compose(gaussian(1e-4, 8.0)).get_epsilon_bounds(1e-5).lower == 0
