"""One record more or less moves the library's step by exactly that record's own vector, and by nothing else."""

import numpy as np
import pytest
import torch

from privgen.mechanism.part_feedback import weighting_of
from privgen.mechanism.record_numbers import RecordNumbers


def sums_of(training, rows):
    """The integer sums of these records, by the step's own weighting, and the norms."""
    plan, data = training.plan, training._data
    learner = training._method.begin(plan, data.facts, training._settings, latents=None)
    task = learner.record_task("model", RecordNumbers())
    (part,), event = plan.parts, plan.event_of(plan.schedule()[0])
    weigh = weighting_of(part, event, normalise=task.normalise)
    drawn = data.drawn(np.asarray(rows), torch.device("cpu"))
    return task.sums(drawn, weigh, physical_batch=32).sums, part, event


@pytest.mark.parametrize("feedback", ["banded", "none"])
@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("normalise", [None, 1e-3])
def test_neighbouring_draws_differ_by_exactly_the_records_own_vector(
    train, own, feedback, augmented, listed, normalise
):
    changes = {"augment": lambda record, generator: record, "views": 2} if augmented else {}
    bands = 2 if feedback == "banded" else None
    dataset = own.Listed() if listed else None
    training = train(dataset=dataset, feedback=feedback, bands=bands, normalise=normalise, **changes)
    rows = np.arange(40)
    whole, part, _ = sums_of(training, rows)
    for left_out in (0, 31, 39):
        without, *_ = sums_of(training, np.delete(rows, left_out))
        alone, *_ = sums_of(training, [left_out])
        for more, less, one in zip(whole, without, alone, strict=True):
            assert all(torch.equal(more[name] - less[name], one[name]) for name in more)
        squared = sum(int(n) ** 2 for t in alone[0].values() for n in t.flatten().to(torch.int64).tolist())
        assert 0 < squared * part.step**2 <= part.clip_norm**2
        if normalise is not None:
            assert squared * part.step**2 > (0.99 * part.clip_norm) ** 2


@pytest.mark.parametrize("normalise", [None, 1e-3])
def test_a_huge_record_adds_no_more_than_its_clip_norm(train, own, normalise):
    x, y = own.records()
    x[3] *= 1e20
    sums, part, _ = sums_of(train(dataset=(x, y), normalise=normalise), [3])
    squared = sum(int(n) ** 2 for t in sums[0].values() for n in t.flatten().to(torch.int64).tolist())
    assert squared * part.step**2 <= (part.clip_norm * (1 + 1e-12)) ** 2


def test_leaving_a_record_out_renames_no_other(train, own):
    x, y = own.records()
    x[7], y[7] = x[2], y[2]  # equal ones are counted
    keep = torch.arange(96) != 50
    whole, less = train(dataset=(x, y))._data.ids, train(dataset=(x[keep], y[keep]))._data.ids
    assert len(np.unique(whole.view("V16"))) == 96
    assert np.array_equal(whole[keep.numpy()], less)


def test_who_a_record_is_does_not_follow_its_place_unless_that_is_declared(train, own):
    x, y = own.records()
    order = torch.arange(95, -1, -1)

    def ids(**changes):
        there, back = (
            train(dataset=(x, y), **changes)._data.ids,
            train(dataset=(x[order], y[order]), **changes)._data.ids,
        )
        return np.array_equal(there, back[::-1])

    assert ids() and ids(identity=lambda record: str(record[0].tolist()))
    assert not ids(stable_index=True)


def test_augmentation_draws_numbers_of_the_records_own(train):
    """Two reads of one record differ, and no global generator is moved by how many were read."""
    training = train(augment=lambda record, g: (record[0] + torch.randn(6, generator=g), record[1]), views=2)
    before = torch.get_rng_state()
    reader = training._data.reader
    one, two = reader.read(0), reader.read(0)
    assert not torch.equal(one[0], two[0]) and not torch.equal(one[0][0], one[0][1])
    assert torch.equal(before, torch.get_rng_state())
