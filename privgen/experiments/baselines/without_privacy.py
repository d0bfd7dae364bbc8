"""`without_privacy`: a plan with noise and clipping next to none, and the ε that this really costs.

What is recorded stays a theorem: the guard charges these steps at the noise that is there, and their ε, some 1e15, is
what the plan promises. Each record is in one of 1/q groups, which take turns, as in epochs; what sampling would hide of
that is not asked for. Nobody is protected by it, and `accountant.audit.checks.promise_check` fails every such run.
"""

from __future__ import annotations

import math
from dataclasses import replace

from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import compose_segments
from accountant.plans.exact_release import raised_to_cover
from accountant.plans.parts import Feedback
from accountant.plans.plan import Plan

# Noise ÷ clip norm. At this clip norm no gradient of these networks is cut, and noise is 4e-5 in a sum over a batch.
_NOISE = 1e-8
_CLIP_NORM = 2.0**12
_GRID_STEP = 2.0**-22
# Of what is released once; images have a root mean square of at most 1.
_STATISTICS_NOISE, _STATISTICS_CLIP_NORM = 1e-5, 2.0
_MARGIN = 1.01


def without_privacy(plan: Plan) -> Plan:
    """The same steps and parts, and batches of about the same size; ε is that of what is left of the noise."""
    bands = max(1, round(1 / plan.sampling_rate))
    noise = raised_to_cover((_NOISE * math.sqrt(len(plan.parts)) for _ in plan.parts), _NOISE)
    parts = tuple(
        replace(part, clip_norm=_CLIP_NORM, residual_clip_norm=0.0, noise_multiplier=z, grid_step=_GRID_STEP)
        for part, z in zip(plan.parts, noise, strict=True)
    )
    start = plan.warm_start and replace(
        plan.warm_start,
        clip_norm=_STATISTICS_CLIP_NORM,
        centred_clip_norm=_STATISTICS_CLIP_NORM,
        mean_noise_multiplier=_STATISTICS_NOISE,
        cluster_noise_multiplier=_STATISTICS_NOISE,
        covariance_noise_multiplier=_STATISTICS_NOISE,
    )
    bare = replace(
        plan,
        feedback=Feedback.BANDED,
        bands=bands,
        sampling_rate=1 / bands,
        noise_multiplier=_NOISE,
        phases=(),
        parts=parts,
        warm_start=start,
        accountant="rdp",
        verified=None,
        defaults={"noise": "WITHOUT PRIVACY: next to none, as a ceiling to compare with"},
    )
    spent = compose_segments(RdpAccountant(plan.neighbouring), bare.caps().composition()).get_epsilon(plan.delta)
    return replace(bare, epsilon=spent * _MARGIN)
