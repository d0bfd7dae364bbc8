"""`gaussian`: the only function in privgen that adds noise, and the only one that redeems a receipt.

    released_k = sums_k + N(0, (z_k Δ_k)² I)         Δ_k = sqrt(C1² + R²/K), C1 at one band

All parts of a step are one joint Gaussian release with 1/z² = Σ 1/z_k² (DESIGN section 3).

Guarantees: it checks that this z is at least the admitted event's and that the bands are the event's, and uses
the receipt up before any noise is drawn. That sums change by at most Δ_k when a record comes or goes is the
clipping's guarantee (`privgen.gradients.clipped_sums`, `privgen.mechanism.error_feedback`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from accountant.errors import ReceiptError
from accountant.events import BandedGaussian, HiddenFeedbackGaussian, joint_noise_multiplier
from accountant.ledger.guard import Receipt
from accountant.plans.plan import ROUNDING, Part
from privgen.errors import ConfigError
from privgen.mechanism.noise import NoiseSource

TensorDict = dict[str, Tensor]


def gaussian(
    sums: Mapping[str, Mapping[str, Tensor]],
    *,
    parts: tuple[Part, ...],
    bands: int,
    receipt: Receipt,
    noise: NoiseSource,
) -> dict[str, TensorDict]:
    """Release one step's sums together.

    Args:
        sums: for each part its clipped (and fed-back) sums by parameter name.
        parts: the same parts, with their noise multipliers and clip norms.
        bands: of the feedback that made the sums. receipt: the guard's, unused.
        noise: where the noise comes from.

    Returns:
        The noised sums, in the same form.

    Raises:
        ReceiptError: the receipt was used, or admits less than these parts release.
        ConfigError: the sums are not those of the parts, or not finite; nothing was released.
    """
    _require_admitted(parts, bands, receipt)
    if set(sums) != {part.name for part in parts}:
        raise ConfigError(f"Expected sums of {[part.name for part in parts]}, got {sorted(sums)}.")
    if not all(bool(torch.isfinite(t).all()) for tensors in sums.values() for t in tensors.values()):
        raise ConfigError("A clipped sum is not finite; nothing was released. The last checkpoint is good.")
    receipt.redeem(receipt.event)
    return {part.name: _noised(sums[part.name], part, bands, noise) for part in parts}


def _require_admitted(parts: tuple[Part, ...], bands: int, receipt: Receipt) -> None:
    event = receipt.event
    joint = joint_noise_multiplier(*(part.noise_multiplier for part in parts))
    if joint < event.noise_multiplier * (1 - ROUNDING):
        raise ReceiptError(
            f"The parts' joint noise multiplier is {joint!r}, less than the {event.noise_multiplier!r} that was "
            "admitted; admit the event of what is released."
        )
    admitted = event.bands if isinstance(event, BandedGaussian) else 1
    if bands != admitted:
        raise ReceiptError(f"The sums were fed back over bands={bands}, but bands={admitted} was admitted.")
    feeds_back = any(part.feedback_clip_norm for part in parts)
    if feeds_back and not isinstance(event, HiddenFeedbackGaussian):
        raise ReceiptError("The published feedback was used, but no HiddenFeedbackGaussian was admitted.")


def _noised(sums: Mapping[str, Tensor], part: Part, bands: int, noise: NoiseSource) -> TensorDict:
    std = part.noise_multiplier * part.sensitivity(bands)
    return {name: value + noise.normal(value.shape, std=std).to(value) for name, value in sums.items()}
