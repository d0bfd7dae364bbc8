"""What `benchmarks/step.py --of denoiser` times: a private step of the denoiser, the analytic part, and sampling."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from accountant.plans.public_facts import PublicFacts
from planners import plan
from privgen.catalogue import METHODS
from privgen.generate import LoadedGenerator
from privgen.mechanism.error_feedback import banded_weights
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.diffusion.denoiser import Denoiser
from privgen.methods.diffusion.learner import DENOISER, DiffusionLearner
from privgen.methods.diffusion.method import METHOD
from privgen.methods.diffusion.release import DiffusionSampler
from privgen.methods.diffusion.settings import DiffusionSettings
from privgen.training.method import RecordFacts

_CLASSES = tuple("0123456789")
# s of docs/diffusion.md.
_ERROR = 0.33


def learner_of(preset: str, side: int) -> DiffusionLearner:
    """A denoiser of grey images over a mixture of random numbers: what is timed does not depend on them."""
    facts = PublicFacts(name="made-up", classes=_CLASSES, shape=(side, side, 1))
    made = plan(epsilon=10.0, dataset_size=60000, method=METHODS["diffusion"].planned, public_facts=facts)
    torch.manual_seed(0)
    known = RecordFacts(shape=(1, side, side), class_names=_CLASSES)
    learner = METHOD.begin(made, known, DiffusionSettings(preset=preset), latents=torch.Generator().manual_seed(0))
    mixture = learner.denoiser.mixture
    mixture.centres.normal_(std=0.05)
    mixture.factors.normal_(std=0.02)
    mixture.weights.fill_(1 / mixture.weights.shape[1])
    learner.after_statistics()
    return learner


def variants(learner: DiffusionLearner, x: Tensor, y: Tensor) -> dict[str, Callable[[], object]]:
    """What is timed, by name; one noisy image a record."""
    denoiser, beside = learner.denoiser, RecordNumbers()
    size = learner.settings.physical_batch
    noise, count = ExactGaussian(), sum(p.numel() for p in denoiser.network.parameters())

    def two(norms: Tensor) -> tuple[Tensor, ...]:
        return banded_weights(norms, clip_norm=0.25, residual_clip_norm=0.75, bands=4, grid_step=2.0**-22)

    return {
        "without privacy": lambda: _plain(denoiser, x, y, learner.settings),
        "privgen, two weightings": lambda: learner.record_task(DENOISER, beside).sums((x, y), two, physical_batch=size),
        "the step's noise": lambda: noise.floored(count, std=1.1 * 2**20),
        "D_mix alone": lambda: _analytic(denoiser, x, y, learner.settings),
    }


def _noisy(x: Tensor, settings: DiffusionSettings) -> tuple[Tensor, Tensor]:
    sigma = (settings.sigma_middle + settings.sigma_spread * torch.randn(len(x))).exp()
    return x + sigma[:, None, None, None] * torch.randn_like(x), sigma


def _plain(denoiser: Denoiser, x: Tensor, y: Tensor, settings: DiffusionSettings) -> None:
    """The mean loss of the batch and its gradient, in one pass."""
    noisy, sigma = _noisy(x, settings)
    c_out = sigma * _ERROR / (sigma.square() + _ERROR**2).sqrt()
    denoiser.zero_grad(set_to_none=True)
    ((denoiser(noisy, sigma, y) - x) / c_out[:, None, None, None]).square().mean().backward()


@torch.no_grad()
def _analytic(denoiser: Denoiser, x: Tensor, y: Tensor, settings: DiffusionSettings) -> None:
    noisy, sigma = _noisy(x, settings)
    denoiser.ideal(noisy[:, None], sigma[:, None], y)


def sampling(learner: DiffusionLearner, images: int) -> tuple[float, float]:
    """Seconds of so many images, by the clock and by processor time."""
    generator = LoadedGenerator(DiffusionSampler(learner.averaged), _CLASSES)
    begun, worked = time.perf_counter(), time.process_time()
    generator(images, seed=0)
    return time.perf_counter() - begun, time.process_time() - worked
