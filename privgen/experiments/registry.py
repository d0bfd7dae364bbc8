"""The experiments that there are, by name. Loads nothing: what an entry names is imported when it is used.

To add one: a module with an `Experiment` called EXPERIMENT, and an entry here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from privgen.catalogue import imported

if TYPE_CHECKING:
    from privgen.experiments.experiment import Experiment

# The name, where it is, and the question that it answers.
EXPERIMENTS: dict[str, tuple[str, str]] = {
    "clipping-bias": (
        "privgen.experiments.clipping_bias.experiment:EXPERIMENT",
        "Does feeding back what clipping took away give better updates than DP-SGD?",
    ),
    "noise-injection": (
        "privgen.experiments.noise_injection:EXPERIMENT",
        "Does noise after each upsampling make generated images more diverse?",
    ),
    "reconstruction": (
        "privgen.experiments.reconstruction:EXPERIMENT",
        "Does the reconstruction loss keep detail, and what would its share of ε buy elsewhere?",
    ),
    "ablation": (
        "privgen.experiments.ablation:EXPERIMENT",
        "What is each component worth, when the noise is solved anew without it?",
    ),
    "failures": (
        "privgen.experiments.failures:EXPERIMENT",
        "What does each way of failing look like: growing error, a budget that ends, images that are alike?",
    ),
    "small-epsilon": (
        "privgen.experiments.small_epsilon:EXPERIMENT",
        "How good are images at a small ε, by the recipe, by DP-SGD and by the statistics alone?",
    ),
    "adaptive-noise": (
        "privgen.experiments.adaptive_noise:EXPERIMENT",
        "Can the injected noise be chosen without a grid search?",
    ),
    "resolution": (
        "privgen.experiments.resolution:EXPERIMENT",
        "What do larger images cost in time, in noise and in quality?",
    ),
    "prior-noise": (
        "privgen.experiments.prior_noise:EXPERIMENT",
        "Does another distribution of latent vectors make better training data?",
    ),
}


def experiment_named(name: str) -> Experiment[Any]:
    """The experiment of that name, its module loaded now."""
    found: Experiment[Any] = imported(EXPERIMENTS[name][0])
    return found
