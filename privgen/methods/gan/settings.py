"""`GanSettings`: learning rates, schedules, losses and sizes of the GAN; nothing in it can change what a run costs.

>>> GanSettings.from_json(GanSettings(preset="tiny").to_json()).preset
'tiny'
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from privgen.config import RunSettings
from privgen.methods.class_mixture.mixture import default_clusters

PRESETS = ("tiny", "small", "paper")
ADVERSARIAL = ("hinge", "wasserstein", "non-saturating")
CRITIC_CONSTRAINTS = ("none", "spectral-norm", "gradient-penalty")
OPTIMISERS = ("adam", "sgd")
UPSAMPLING_NOISE_KINDS = ("fixed", "scheduled", "learned", "steered")
LATENT_PRIORS = ("gaussian", "bernoulli", "mixture", "class-conditional")


@dataclass(frozen=True, kw_only=True)
class GanSettings(RunSettings):
    """Settings of a GAN that are not privacy-relevant, beside those that every method has.

    Args:
        preset: size of the networks: tiny, small or paper.
        latent_dim: length of a latent vector, >= 1.
        latent_prior: distribution of latent vectors: gaussian, bernoulli (signs), mixture (Gaussians around fixed
            random centres) or class-conditional (a Gaussian around a centre for each class). With a warm start it is
            gaussian, because the mixture takes such ones.
        upsampling_noise: σ_noise, std of the Gaussian noise after each upsampling in the generator, >= 0.
        upsampling_noise_kind: fixed; scheduled, linear from σ_noise to `upsampling_noise_end` over the plan's steps;
            learned, one σ for each upsampling, which begins at σ_noise > 0; or steered, one σ that begins at
            σ_noise > 0, rises where generated images of a class become alike and falls where they do not.
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
        mixture_clusters: Gaussians in each class that a warm start fits, >= 1; unused without one.
        mixture_frequencies: lowest cosine frequencies in each direction that a warm start sees, >= 1.
    """

    preset: str = "small"
    latent_dim: int = 64
    latent_prior: str = "gaussian"
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
    mixture_clusters: int = 8
    mixture_frequencies: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("preset", self.preset in PRESETS, f"one of {', '.join(PRESETS)}")
        self.require("adversarial", self.adversarial in ADVERSARIAL, f"one of {', '.join(ADVERSARIAL)}")
        constraints = CRITIC_CONSTRAINTS
        self.require("critic_constraint", self.critic_constraint in constraints, f"one of {', '.join(constraints)}")
        self.require("latent_prior", self.latent_prior in LATENT_PRIORS, f"one of {', '.join(LATENT_PRIORS)}")
        self.require("optimiser", self.optimiser in OPTIMISERS, f"one of {', '.join(OPTIMISERS)}")
        kinds = UPSAMPLING_NOISE_KINDS
        self.require("upsampling_noise_kind", self.upsampling_noise_kind in kinds, f"one of {', '.join(kinds)}")
        for name in ("critic_rate", "classifier_rate", "encoder_rate", "generator_rate", "penalty_weight"):
            self.require(name, getattr(self, name) > 0, "> 0")
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
            self.require(name, getattr(self, name) >= 0, ">= 0")
        for name in ("momentum", "ema_decay"):
            self.require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self.require("generator_start", 0 <= self.generator_start < 1, "in [0, 1)")
        self.require("class_start", 0 <= self.class_start <= 1, "in [0, 1]")
        for name in ("latent_dim", "generator_batch", "mixture_clusters", "mixture_frequencies"):
            self.require(name, getattr(self, name) >= 1, ">= 1")


def default_settings(dataset_size: int) -> GanSettings:
    """What to train with where nothing is said: small networks, and tiny ones below 5 000 records.

    Args:
        dataset_size: N, public.
    """
    if dataset_size < 5000:
        # Few steps: higher rates, and an average that forgets sooner.
        return GanSettings(preset="tiny", critic_rate=5e-4, generator_rate=5e-4, checkpoint_every=250, ema_decay=0.99)
    return GanSettings()


def published_losses(settings: GanSettings) -> GanSettings:
    """The same with the published losses alone: the mode-seeking loss on generated images is ours."""
    return replace(settings, diversity_weight=0.0)


def warm_settings(dataset_size: int) -> GanSettings:
    """The same where the plan has a warm start: the mixture knows the classes, and its spread is not to be lost.

    Args:
        dataset_size: N, public; more records tell more clusters and frequencies from noise.
    """
    few = dataset_size < 5000
    return replace(
        default_settings(dataset_size),
        generator_rate=2e-4,
        generator_start=0.1,
        class_weight=0.0,
        diversity_weight=0.0,
        mixture_clusters=default_clusters(dataset_size),
        mixture_frequencies=8 if few else 32,
    )
