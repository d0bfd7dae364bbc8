"""Membership inference finds the records that a generator memorised, and nobody where it memorised none."""

import numpy as np
import pytest

from privgen.attacks.membership import membership_attack
from privgen.errors import EvaluationError

GENERATOR = np.random.default_rng(0)
MEMBERS, OTHERS, FRESH = GENERATOR.integers(0, 256, (3, 1000, 6, 6, 1)).astype(np.uint8)


def test_a_generator_that_gives_back_its_records_is_found_out():
    copies = np.clip(MEMBERS + GENERATOR.normal(0, 5, MEMBERS.shape), 0, 255)
    found = membership_attack(MEMBERS, OTHERS, generated=copies)
    assert found.area > 0.999 and found.true_positive_rate(0.001) > 0.99


def test_a_generator_that_memorised_a_tenth_is_found_out_where_nearly_nobody_is_accused_wrongly():
    some = np.concatenate([MEMBERS[:100], FRESH])
    found = membership_attack(MEMBERS, OTHERS, generated=some)
    assert 0.1 <= found.true_positive_rate(0.001) < 0.12
    assert found.area < 0.65


def test_a_generator_that_never_saw_the_records_tells_nothing():
    found = membership_attack(MEMBERS, OTHERS, generated=FRESH)
    # Under guessing the area's deviation is 0.013; a rate of 0.001 is one of a thousand.
    assert abs(found.area - 0.5) < 6 * 0.013
    assert found.true_positive_rate(0.001) < 0.02


@pytest.mark.parametrize("generated", [FRESH[:0], FRESH[:, :5]])
def test_what_cannot_be_compared_is_refused(generated):
    with pytest.raises(EvaluationError):
        membership_attack(MEMBERS, OTHERS, generated=generated)
