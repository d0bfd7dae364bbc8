"""`adaptive-noise`: σ_noise without a grid search: learned, or steered by the spread of generated images.

The rule of the steered one is in `privgen.methods.gan.steered_noise`; it sees generated images and, with a warm start,
what was released of the statistics. The trials of `noise-injection` are among these: a copy of its results.jsonl is
taken as it is.
"""

from __future__ import annotations

from typing import Any

from privgen.experiments.gan_trials.experiment import gan_experiment
from privgen.experiments.gan_trials.trial import GanChoices, GanTrial
from privgen.experiments.noise_injection import WARM, grid, noise_figure, noise_tables, with_noise

_STEERED: dict[str, dict[str, Any]] = {
    "σ steered from 0.1": {"upsampling_noise": 0.1, "upsampling_noise_kind": "steered"}
}


def trials(choices: GanChoices) -> list[GanTrial]:
    """The grid, the learned one, and the rule."""
    return [*grid(choices), *with_noise(choices, _STEERED)]


EXPERIMENT = gan_experiment(
    "adaptive-noise",
    factors="σ of the injected noise: the grid of noise-injection, learned, and steered by released quantities",
    trials=trials,
    quick={"only": ("σ = 0.1" + WARM, "σ steered from 0.1" + WARM)},
    tables=noise_tables,
    figure=noise_figure,
)
