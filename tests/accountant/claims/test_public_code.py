"""Claims that were read in public code: recomputed where an ε follows, and none where none does."""

import json
import math
import re

import pytest
from click.testing import CliRunner

from accountant.claims.claims import CLAIMS, EVERY_CLAIM, claim
from accountant.claims.public_code import PUBLIC_CODE
from accountant.composition.rdp import RdpAccountant
from accountant.events import SubsampledGaussian
from privgen.cli import main


@pytest.mark.parametrize("name", sorted(PUBLIC_CODE))
def test_every_one_names_the_commit_that_was_read_and_speaks_of_code(name):
    record = PUBLIC_CODE[name]
    assert re.search(r"\b[0-9a-f]{40}\b", record.source) and ".py" in record.source
    assert record.reason.endswith(".") and record.reason.count(". ") <= 1 and record.assumptions


def test_a_batch_factor_that_is_dropped_costs_far_more_than_it_claims():
    one = claim("dpimagebench-gs-wgan")
    z = RdpAccountant().compose(SubsampledGaussian(sampling_rate=1e-3, noise_multiplier=0.43), 20000).get_epsilon(1e-5)
    assert z > 10.0  # so that the noise it asks for is above 0.43
    assert one.claimed == 10.0 < 200 < one.lower <= one.certified.epsilon


def test_an_accountant_that_is_asked_in_every_20th_step_overshoots_by_little():
    one = claim("dp-sinkhorn")
    ran = int(one.assumptions[0].split()[0])
    event = SubsampledGaussian(sampling_rate=50 / 60000, noise_multiplier=1.1)
    before, after = (RdpAccountant().compose(event, steps).get_epsilon(1e-5) for steps in (ran - 19, ran + 1))
    assert (ran + 1) % 20 == 0 and before < 10.0 <= after
    assert 9.99 < one.certified.rdp <= after


@pytest.mark.parametrize("name", ["datalens", "opacus-distributed", "dpimagebench-histogram"])
def test_where_none_follows_none_is_printed(name):
    one = claim(name)
    assert math.isinf(one.certified.epsilon)
    assert json.loads(json.dumps(one.to_json(), allow_nan=False))["certified"] == {"rdp": None, "prv": None}
    shown = CliRunner().invoke(main, ["audit", "--claim", name])
    assert shown.exit_code == 0 and "No ε follows" in shown.stdout


@pytest.mark.parametrize("form", ["terminal", "markdown", "html", "json"])
def test_all_claims_are_one_table(form):
    shown = CliRunner().invoke(main, ["audit", "--claims", "--format", form])
    assert shown.exit_code == 0, shown.output
    if form == "json":
        assert [one["claim"] for one in json.loads(shown.stdout)] == list(EVERY_CLAIM)
        return
    assert all(name in shown.stdout for name in EVERY_CLAIM)
    assert set(CLAIMS) < set(EVERY_CLAIM)
