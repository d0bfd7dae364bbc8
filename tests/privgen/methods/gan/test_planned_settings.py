"""What a plan is trained with: the preset that it names; of the published one the losses too, without a flag."""

import dataclasses

import click
import pytest

from accountant.plans.planned_method import LIBRARY
from planners import plan
from privgen.catalogue import METHODS, method_named
from privgen.cli.train_opening import _settings
from privgen.errors import ConfigError
from privgen.methods.gan.method import METHOD
from privgen.methods.gan.settings import default_settings, warm_settings
from privgen.training.method import Method


def planned(**changes):
    return plan(**{"epsilon": 10.0, "dataset_size": 60000, "iterations": 40, **changes})


def test_a_plan_that_names_no_preset_is_trained_by_the_defaults():
    assert METHOD.planned_settings(planned()) == warm_settings(60000)
    assert METHOD.planned_settings(planned(warm_start=0.0)) == default_settings(60000)


def test_the_published_preset_brings_its_networks_and_losses_into_training():
    found = _settings(METHOD, planned(preset="paper"), None, ())
    assert found == dataclasses.replace(default_settings(60000), preset="paper", diversity_weight=0.0)
    assert found.class_weight > 0 and found.reconstruction_weight > 0
    # Other sizes of networks leave the losses alone, and so does a mixture under the generator.
    assert METHOD.planned_settings(planned(preset="tiny")) == dataclasses.replace(warm_settings(60000), preset="tiny")
    over = METHOD.planned_settings(planned(preset="paper", warm_start=0.4))
    assert over == dataclasses.replace(warm_settings(60000), preset="paper")


def test_what_is_asked_of_training_comes_before_what_the_plan_names():
    found = _settings(METHOD, planned(preset="paper"), "tiny", ("diversity_weight=0.3",))
    assert (found.preset, found.diversity_weight) == ("tiny", 0.3)


def test_a_preset_that_the_method_lacks_is_refused_in_one_line_where_a_plan_is_used():
    for preset, error in (("huge", click.BadParameter), ("paper", click.BadParameter)):
        method = "gan" if preset == "huge" else "diffusion"
        made = planned(preset=preset, method=METHODS[method].planned)
        with pytest.raises((error, ConfigError), match=preset):
            _settings(method_named(method), made, None, ())


def test_a_method_without_presets_says_so(lab):
    class Bare(Method):
        name, parts = "bare", LIBRARY.parts
        default_settings = staticmethod(lambda size, *, warm_start: lab.config().__class__.__mro__[1]())
        settings_from_json = begin = rebuild = None

    with pytest.raises(ConfigError, match="has no presets, and the plan names tiny"):
        Bare().planned_settings(planned(preset="tiny", method=LIBRARY))
