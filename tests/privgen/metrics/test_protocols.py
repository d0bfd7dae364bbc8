"""Protocols say what they fix, and every classifier they name can be trained."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from privgen.errors import EvaluationError
from privgen.metrics.classifiers import RECIPES, NetworkRecipe
from privgen.metrics.gen2real import accuracy
from privgen.metrics.protocols import DEFAULT, PROTOCOLS


def test_the_protocols_are_these_and_cannot_be_changed():
    assert tuple(PROTOCOLS) == (DEFAULT, "privgen-2", "dpac", "dpdm")
    with pytest.raises(TypeError):
        PROTOCOLS["mine"] = PROTOCOLS["dpac"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROTOCOLS["dpac"].samples = 1


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda p: p.name)
def test_a_protocol_says_where_it_is_from_and_is_json(protocol):
    stored = json.loads(json.dumps(protocol.to_json()))
    assert all(stored[key] for key in ("name", "samples", "classifiers", "resize", "split", "selection", "sources"))
    assert all(protocol.recipe(name).about == about for name, about in stored["classifiers"].items())


def test_nothing_is_selected_on_real_images():
    assert all(protocol.selection == "none: the last epoch" for protocol in PROTOCOLS.values())


def test_departures_are_named():
    dpac = PROTOCOLS["dpac"]
    assert dpac.deviations(samples=60000, features=None) == ()
    assert dpac.deviations(samples=60000, features="inception") == ()
    assert len(dpac.deviations(samples=500, features="pixels")) == 2
    assert dpac.deviations(samples=60000, features=None, per_class=(5999, 6000)) == ()
    assert "1 to 9 images a class" in dpac.deviations(samples=60000, features=None, per_class=(1, 9))[0]
    assert PROTOCOLS[DEFAULT].deviations(samples=10000, features="pixels") == ()


def test_a_data_set_that_is_prepared_otherwise_is_refused():
    for name in ("dpac", "dpdm"):
        PROTOCOLS[name].require("fashion-mnist")
        with pytest.raises(EvaluationError, match="--protocol privgen-1"):
            PROTOCOLS[name].require("celeba")
    PROTOCOLS["dpac"].require("celeba-resized")
    with pytest.raises(EvaluationError, match="crop is not in the published code"):
        PROTOCOLS["dpdm"].require("celeba-resized")


@pytest.mark.parametrize("name", RECIPES)
def test_every_classifier_learns_the_digits(digits, name):
    short, epochs = RECIPES[name], 4
    if isinstance(short, NetworkRecipe):
        # Few images and few epochs: at a higher rate, so that it learns at all.
        short = dataclasses.replace(short, rate=max(short.rate, 2e-3))
        epochs = 20 if short.schedule == "step" else 4
    real = (digits.train.images[:700], digits.train.labels[:700]), (digits.test.images, digits.test.labels)
    assert accuracy(short, *real, seed=0, epochs=epochs)[0] > 0.6


def test_classifiers_take_the_shapes_and_leave_the_callers_random_state_alone():
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(20) % 2
    before = torch.random.get_rng_state()
    for recipe in RECIPES.values():
        assert recipe.train(images, labels, classes=2, seed=0, epochs=1)(images).shape == (20,)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_single_class_cannot_be_trained_on():
    images = np.zeros((20, 28, 28, 1), np.uint8)
    with pytest.raises(EvaluationError, match="two classes"):
        accuracy(RECIPES["privgen-cnn"], (images, np.ones(20, np.int64)), (images, np.ones(20, np.int64)), seed=0)
