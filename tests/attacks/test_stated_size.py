"""Attacks on N: the number of records is stated in the plan and is not counted.

Once, 119 of 120 neighbouring pairs told the record apart with certainty: with it the run began, without it the program
said that N differed.
"""

import re

import numpy as np
import pytest

from privgen.data.records import DataSet
from privgen.errors import DataError
from privgen.training.loop import run


def of_size(lab, count):
    """The first so many of 260 records."""
    data = lab.data(count=260)
    return DataSet(data.name, data.train.subset(np.arange(count)), data.test)


@pytest.mark.parametrize("count", [180, 199, 200, 201, 220])
def test_about_as_many_records_as_were_stated_train(lab, tmp_path, count):
    with lab.begin(tmp_path / "run", data=of_size(lab, count)) as session:
        assert len(list(run(session))) == 12
        assert session.guard.steps == 12


@pytest.mark.parametrize("count", [179, 221])
def test_a_data_set_that_is_far_off_is_another_one(lab, tmp_path, count):
    with pytest.raises(DataError, match=rf"N = 200 records and synthetic has {count}, over 10% away"):
        lab.begin(tmp_path / "run", data=of_size(lab, count))
    assert not (tmp_path / "run").exists()


def test_the_divisor_and_the_noise_are_of_the_stated_size_whatever_was_counted(lab, tmp_path):
    """Sampling rate and noise come from the plan; a count would move the sum of everybody's gradients."""
    released = []
    for count in (200, 199):
        with lab.begin(tmp_path / str(count), data=of_size(lab, count)) as session:
            released.append(
                (session.plan.to_json(), session.state.learner.settings.to_json(), dict(session.state.learner.network))
            )
    assert released[0] == released[1]


def test_the_count_is_in_no_released_file(lab, tmp_path):
    with lab.begin(tmp_path / "run", data=of_size(lab, 193)) as session:
        for _ in run(session):
            pass
    for name, content in lab.every_file(tmp_path / "run" / "release").items():
        if name.endswith((".json", ".jsonl", ".md", ".html")):
            assert not re.search(rb"(?<![\w.])193(?![\w.])", content), name
    assert "193 records are trained on" in (tmp_path / "run" / "private" / "source.json").read_text()
