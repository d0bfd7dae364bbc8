"""`TrainConfig`: what a run trains with, beside its plan. Nothing in it can change what the run costs.

Everything that privacy depends on is in the plan (`accountant.plans.plan`). This holds learning rates, schedules,
losses and sizes; it is recorded in the checkpoint and in `generator.json`.

    >>> TrainConfig.from_json(TrainConfig(preset="tiny").to_json()).preset
    'tiny'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from privgen.errors import ConfigError

PRESETS = ("tiny", "small", "paper")
ADVERSARIAL = ("hinge", "wasserstein", "non-saturating")
CRITIC_CONSTRAINTS = ("none", "spectral-norm", "gradient-penalty")
OPTIMISERS = ("adam", "sgd")
UPSAMPLING_NOISE_KINDS = ("fixed", "scheduled", "learned")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Settings of a run that are not privacy-relevant.

    Args:
        preset: size of the networks: tiny, small or paper.
        latent_dim: length of a latent vector, >= 1.
        upsampling_noise: σ_noise, std of the Gaussian noise after each upsampling in the generator, >= 0.
        upsampling_noise_kind: fixed; scheduled, linear from σ_noise to `upsampling_noise_end` over the plan's steps;
            or learned, one σ for each upsampling, which begins at σ_noise > 0.
        upsampling_noise_end: what a scheduled σ_noise ends with, >= 0.
        adversarial: hinge, wasserstein or non-saturating.
        critic_constraint: none; spectral-norm, on every layer of the critic in place of GroupNorm; or
            gradient-penalty, on interpolates of generated images. All are free; a wasserstein critic wants one.
        penalty_weight: λ of the gradient penalty, > 0.
        optimiser: adam or sgd, for the privatised sums.
        critic_rate, classifier_rate, encoder_rate, generator_rate: learning rates, > 0.
        reconstruction_rate: learning rate of the generator's privatised reconstruction update, >= 0.
        momentum: Adam's first moment decay or SGD's momentum, in [0, 1).
        weight_decay: decoupled, on the critic and the classifier, >= 0.
        generator_steps: generator updates after each private step, >= 0; they are free.
        generator_batch: images in a generator update, >= 1.
        fake_batches: of the newest generator batches the critic sees the images; 0 makes a new image for each record.
        class_weight: weight of the classifier's cross-entropy in the generator's loss, >= 0.
        class_start: fraction of the run after which the classifier's loss enters the generator's, in [0, 1].
        diversity_weight: weight of the mode-seeking loss in the generator's, >= 0.
        generator_start: fraction of the run after which the generator learns, in [0, 1); before it the critic does.
        anchor_weight: weight of the squared distance to the mixture of a warm start, >= 0; unused without one.
        reconstruction_weight: γ_recon of the L2 reconstruction loss, >= 0.
        kl_weight: weight of the encoder's KL term beside it, >= 0.
        ema_decay: of the generator's moving average, in [0, 1).
        checkpoint_every: private steps between checkpoints, >= 1.
        keep_checkpoints: how many of the newest are kept, >= 2.
        physical_batch: records in one forward pass, rounded up to a multiple of 32 but for 1, or None for what is fast;
            never changes accounting.
        mixture_clusters: Gaussians in each class that a warm start fits, >= 1; unused without one.
        mixture_frequencies: lowest cosine frequencies in each direction that a warm start sees, >= 1.
        seed: of initialisation; never of noise, batches or latent vectors.
    """

    preset: str = "small"
    latent_dim: int = 64
    upsampling_noise: float = 0.1
    upsampling_noise_kind: str = "fixed"
    upsampling_noise_end: float = 0.0
    adversarial: str = "hinge"
    critic_constraint: str = "none"
    penalty_weight: float = 10.0
    optimiser: str = "adam"
    critic_rate: float = 3e-4
    classifier_rate: float = 1e-3
    encoder_rate: float = 1e-3
    generator_rate: float = 3e-4
    reconstruction_rate: float = 1e-3
    momentum: float = 0.5
    weight_decay: float = 0.0
    generator_steps: int = 1
    generator_batch: int = 128
    fake_batches: int = 4
    class_weight: float = 0.2
    class_start: float = 0.05
    diversity_weight: float = 0.2
    generator_start: float = 0.0
    anchor_weight: float = 10.0
    reconstruction_weight: float = 1.0
    kl_weight: float = 0.01
    ema_decay: float = 0.998
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    physical_batch: int | None = None
    mixture_clusters: int = 8
    mixture_frequencies: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for one in fields(self):
            _require_kind(one.name, getattr(self, one.name), str(one.type))
        self._require("preset", self.preset in PRESETS, f"one of {', '.join(PRESETS)}")
        self._require("adversarial", self.adversarial in ADVERSARIAL, f"one of {', '.join(ADVERSARIAL)}")
        constraints = CRITIC_CONSTRAINTS
        self._require("critic_constraint", self.critic_constraint in constraints, f"one of {', '.join(constraints)}")
        self._require("optimiser", self.optimiser in OPTIMISERS, f"one of {', '.join(OPTIMISERS)}")
        kinds = UPSAMPLING_NOISE_KINDS
        self._require("upsampling_noise_kind", self.upsampling_noise_kind in kinds, f"one of {', '.join(kinds)}")
        for name in ("critic_rate", "classifier_rate", "encoder_rate", "generator_rate", "penalty_weight"):
            self._require(name, getattr(self, name) > 0, "> 0")
        for name in (
            "upsampling_noise",
            "upsampling_noise_end",
            "reconstruction_rate",
            "weight_decay",
            "generator_steps",
            "fake_batches",
            "class_weight",
            "diversity_weight",
            "anchor_weight",
            "reconstruction_weight",
            "kl_weight",
        ):
            self._require(name, getattr(self, name) >= 0, ">= 0")
        for name in ("momentum", "ema_decay"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._require("generator_start", 0 <= self.generator_start < 1, "in [0, 1)")
        self._require("class_start", 0 <= self.class_start <= 1, "in [0, 1]")
        for name in ("latent_dim", "generator_batch", "checkpoint_every", "mixture_clusters", "mixture_frequencies"):
            self._require(name, getattr(self, name) >= 1, ">= 1")
        self._require("keep_checkpoints", self.keep_checkpoints >= 2, ">= 2")
        self._require("physical_batch", self.physical_batch is None or self.physical_batch >= 1, ">= 1")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"Expected {name}={getattr(self, name)!r} to be {expected}.")

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """The configuration that `to_json` wrote.

        Raises:
            ConfigError: unknown fields, or a value out of range.
        """
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ConfigError(f"Unknown training settings: {', '.join(sorted(unknown))}.")
        try:
            return cls(**data)
        except TypeError as error:
            raise ConfigError(f"The training settings are inconsistent: {error}") from error


# What a value in JSON may be, for each type of a field; a bool is a number to Python and to nobody else.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a word", lambda value: isinstance(value, str)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, Integral) and not isinstance(value, bool)),
    "float": (
        "a finite number",
        lambda value: isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value),
    ),
}


def _require_kind(name: str, value: Any, kind: str) -> None:
    """Raise ConfigError unless a value is of its field's type, such as "int | None"."""
    allowed = [_KINDS[word] for word in kind.split(" | ") if word != "None"]
    if (value is None and "None" in kind) or any(holds(value) for _, holds in allowed):
        return
    raise ConfigError(f"Expected {name}={value!r} to be {' or '.join(words for words, _ in allowed)}.")


def default_config(dataset_size: int) -> TrainConfig:
    """What to train with where nothing is said: small networks, and tiny ones below 5 000 records.

    Args:
        dataset_size: N, public.
    """
    if dataset_size < 5000:
        # Few steps: higher rates, and an average that forgets sooner.
        return TrainConfig(preset="tiny", critic_rate=5e-4, generator_rate=5e-4, checkpoint_every=250, ema_decay=0.99)
    return TrainConfig()


def warm_config(dataset_size: int) -> TrainConfig:
    """The same where the plan has a warm start: the mixture knows the classes, and its spread is not to be lost.

    Args:
        dataset_size: N, public; more records tell more clusters and frequencies from noise.
    """
    few = dataset_size < 5000
    return replace(
        default_config(dataset_size),
        generator_rate=2e-4,
        generator_start=0.1,
        class_weight=0.0,
        diversity_weight=0.0,
        mixture_clusters=1 if few else 8,
        mixture_frequencies=8 if few else 16,
    )
