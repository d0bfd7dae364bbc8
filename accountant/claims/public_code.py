"""Published settings that were read in public code, each at a commit that its record names.

Some have an ε that can be recomputed, and some have none, and the record says why. Nothing is said of what was not
read; a later version of the same code may do otherwise. Nothing is computed here; `accountant.claims.claims` does that.

    >>> sorted(PUBLIC_CODE)
    ['datalens', 'dp-sinkhorn', 'dpimagebench-gs-wgan', 'dpimagebench-histogram', 'opacus-distributed']
"""

from __future__ import annotations

from dataclasses import dataclass

from accountant.claims.published import SanitisedGenerator


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedLate:
    """Poisson-subsampled Gaussian steps that are stopped where an accountant, asked now and then, passes the target.

    Args:
        name, claimed, delta: the claim. reason, source, assumptions: for people.
        sampling_rate: q. noise_multiplier: z. every: steps between two looks; the step of the look that stops the run
            is not taken.
    """

    name: str
    claimed: float
    delta: float
    sampling_rate: float
    noise_multiplier: float
    every: int
    reason: str
    source: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WithoutEpsilon:
    """A mechanism of which no ε follows from what its code does.

    Args:
        name: of the claim. claimed: ε that is published or asked for, or None where it is the user's own choice.
        delta: of the claim. reason, source, assumptions: for people.
    """

    name: str
    claimed: float | None
    delta: float
    reason: str
    source: str
    assumptions: tuple[str, ...]


_DPIMAGEBENCH = "repository 2019ChenGong/DPImageBench"

_GS_WGAN = SanitisedGenerator(
    name="dpimagebench-gs-wgan",
    claimed=10.0,
    delta=1e-5,
    noise_multiplier=None,
    workers=1000,
    stretches=((20000, 32),),
    as_published=((20000, 32),),
    reason=(
        "The noise is computed for 20000 releases at sampling rate 1/1000, one a step; each step noises and releases "
        "the gradients of 32 images, whose joint sensitivity is √32 times that of one."
    ),
    source=(
        f"{_DPIMAGEBENCH}: models/gs_wgan.py at 09ef5bb5e2713f25a355f2d31a3fc42c4412543c (get_noise_multiplier with "
        "sample_rate = 1/num_discriminators and steps = iterations; dp_conv_hook clips and noises each image's "
        "gradient), the same call at 3bd9decbd6f9071ec0a36bf0043e08d495d10970; "
        "configs/GS-WGAN/fmnist_28_eps10.0.yaml at 147b478a376f412e88339ebb0d69fe8d6ddeb3a5 (1000 discriminators, "
        "batch 32, 20000 iterations, δ = 1e-5)"
    ),
    assumptions=(
        "the noise multiplier is recomputed by our RDP for ε = 10, as its call does by Opacus' default accountant",
        "the certified figure gives away which network was drawn in each step, since later releases show it",
        "the lower figure is one subsampled release a step, which is what a step costs if later releases tell nothing",
        "δ is the configuration's; a later version sets 1/(N log N)",
    ),
)

_SINKHORN = CheckedLate(
    name="dp-sinkhorn",
    claimed=10.0,
    delta=1e-5,
    sampling_rate=50 / 60000,
    noise_multiplier=1.1,
    every=20,
    reason=(
        "The accountant is asked in every 20th step and stops the run where ε is at least the target: up to 19 steps "
        "more than the target allows are released, which by this accountant passes it by little, and by a tighter one"
        " not at all."
    ),
    source=(
        "Cao, Bie, Vahdat, Fidler & Kreis, NeurIPS 2021 (arXiv 2111.01177); repository nv-tlabs/DP-Sinkhorn_code at "
        "2571a6065a2cd3c14baf53c8c9e011dd79f9a196: sinkhorn_poisson.py (train_step: calc_epsilon where global_step % "
        "20 == 0, PrivacyExceededError where eps >= target_epsilon), README.md (MNIST, m = 1: batch 50, noise 1.1, "
        "target 10)"
    ),
    assumptions=(
        "the stop is at the first multiple of 20 at which our RDP is at least the target; its own orders may stop a "
        "few looks away",
        "Poisson batches, N public; the noise is for the distance 2C of two clipped gradients, as the code does",
        "as many images are generated in a step as records were drawn, so the gradient's shape shows the realised "
        "batch size; no figure here covers that",
    ),
)

_DATALENS = WithoutEpsilon(
    name="datalens",
    claimed=None,
    delta=1e-5,
    reason=(
        "The Rényi cost of a step is the smaller of a bound for any data and one for a noisy arg max that depends on "
        "the data; what is released is the sign of every coordinate of the noised votes, not their arg max, and the ε"
        " that depends on the data is printed without protection."
    ),
    source=(
        "Wang et al., CCS 2021 (arXiv 2103.11109); repository AI-secure/DataLens at "
        "3c0d7ab0b76a4aa82571ace3b26241c8fe63323e: rdp_utils.py (signsgd_aggregate: compute_logq_gaussian of the "
        "noised votes, rdp_gaussian, signs above a threshold), pate_core.py (rdp_gaussian: the minimum of both "
        "bounds)"
    ),
    assumptions=("its bound for any data alone would be an ε; the code prints the minimum",),
)

_OPACUS = WithoutEpsilon(
    name="opacus-distributed",
    claimed=None,
    delta=1e-5,
    reason=(
        "A rank that draws no record yields no batch at all in that step, so that the number of its batches shows "
        "whether its share was drawn from; and ranks whose generators have equal seeds draw the same places of their "
        "shares, so that their draws are not independent."
    ),
    source=(
        "opacus/utils/uniform_sampler.py, DistributedUniformWithReplacementSampler (`if len(selected_examples) > 0: "
        "yield`; torch.rand(num_samples, generator=generator) on each rank), read in two copies of pytorch/opacus: "
        "JetBrains-Research/opacus at 1b88cf0ab3cec548b3f0a845cc8f557131d71dfe and ikanher/opacus at "
        "0dfefa515aa5fbfed8dac9fa486ebe131ae18ae4"
    ),
    assumptions=("of training in one process nothing is said here",),
)

_HISTOGRAM = WithoutEpsilon(
    name="dpimagebench-histogram",
    claimed=None,
    delta=1e-5,
    reason=(
        "The generator is set to the seed 0 in the line before the histogram's noise is drawn: whoever has the code "
        "can subtract the noise."
    ),
    source=(
        f"{_DPIMAGEBENCH}: data/dataset_loader.py at 009b1c9e81f71fbe451da2e438b6162e368627ce (semantic_query: "
        "torch.manual_seed(0), then torch.randn_like(semantics_hist))"
    ),
    assumptions=("the same generator on the same kind of device gives the same numbers",),
)

PublicCode = SanitisedGenerator | CheckedLate | WithoutEpsilon
PUBLIC_CODE: dict[str, PublicCode] = {
    record.name: record for record in (_GS_WGAN, _HISTOGRAM, _SINKHORN, _DATALENS, _OPACUS)
}
