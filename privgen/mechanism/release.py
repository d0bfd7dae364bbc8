"""`gaussian`: the only function in privgen that adds noise, and the only one that redeems a receipt.

    released_k = sums_k + ⌊N(0, (σ_k/h_k)² I)⌋       integers, in units of the grid step h_k;  σ_k/h_k ≥ z_k Δ_k / h_k

Where several ranks train together, sums_k are added up over ranks, and each coordinate's noise is drawn by one rank.

sums_k are integers too, so this is ⌊sums_k + N⌋: post-processing of the Gaussian mechanism, exactly. All parts
of a step are one joint Gaussian release with 1/z² = Σ 1/z_k² (docs/privacy.md, theorems 1 and 11).

Guarantees: it checks, in fractions and without any slack, that this z is at least the admitted event's, that the bands
are the event's and that what is fed back is no more than the event's ratio allows; and uses the receipt up before any
noise is drawn. That sums change by at most Δ_k/h_k when a record comes or goes is the clipping's guarantee
(`privgen.gradients.clipped_sums`, `privgen.mechanism.error_feedback`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import torch
from torch import Tensor

from accountant.errors import ReceiptError
from accountant.events import Event, joint_noise_multiplier
from accountant.ledger.receipt import Receipt
from accountant.plans.exact_release import feedback_ratio_upwards, joint_covers
from accountant.plans.parts import Part
from privgen.errors import ConfigError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.ranks import ALONE, Ranks

TensorDict = dict[str, Tensor]


def gaussian(
    sums: Mapping[str, Mapping[str, Tensor]],
    *,
    parts: tuple[Part, ...],
    bands: int,
    receipt: Receipt,
    noise: ExactGaussian,
    batch_size: float | None = None,
    counted_twice: frozenset[str] = frozenset(),
    ranks: Ranks = ALONE,
) -> dict[str, TensorDict]:
    """Release one step's sums together.

    Args:
        sums: for each part its clipped (and fed-back) sums by parameter name: int64, in grid steps of that part.
        parts: the same parts, with their noise multipliers, clip norms and grid steps.
        bands: of the feedback that made the sums. receipt: the guard's, unused.
        noise: where the noise comes from.
        batch_size: B = qN, where the published feedback is used: C2 is on the scale of the mean.
        counted_twice: names of sums each of whose numbers stands for two equal ones in the vector whose norm Δ
            bounds, such as what is off the diagonal of a symmetric matrix; their noise has σ/√2.
        ranks: who else has sums of this step; all call this at once, each with its own sums and its own receipt for
            the step. What comes back is the same on all.

    Returns:
        The noised sums, in the same form: int64, in grid steps.

    Raises:
        ReceiptError: the receipt was used, or admits less than these parts release.
        ConfigError: the sums are not those of the parts, or no integers; nothing was released.
    """
    require_admitted(parts, bands, receipt.event, batch_size)
    if set(sums) != {part.name for part in parts}:
        raise ConfigError(f"Expected sums of {[part.name for part in parts]}, got {sorted(sums)}.")
    if not all(t.dtype == torch.int64 for tensors in sums.values() for t in tensors.values()):
        raise ConfigError("Expected sums of integers (int64): noise on floats is no Gaussian mechanism.")
    receipt.redeem(receipt.event)
    return _noised(sums, parts, bands, noise, counted_twice, ranks)


def require_admitted(parts: tuple[Part, ...], bands: int, event: Event, batch_size: float | None) -> None:
    """Raise ReceiptError unless what these parts release costs no more than the event.

    Args:
        bands: of the feedback. batch_size: B = qN, or None where no part feeds back as published.
    """
    noises = [part.noise_multiplier for part in parts]
    if not joint_covers(noises, event.noise_multiplier):
        raise ReceiptError(
            f"The parts' joint noise multiplier is {joint_noise_multiplier(*noises)!r}, less than the "
            f"{event.noise_multiplier!r} that was admitted; admit the event of what is released."
        )
    if bands != event.bands:
        raise ReceiptError(f"The sums were fed back over bands={bands}, but bands={event.bands} was admitted.")
    if bands == 1 and any(part.residual_clip_norm for part in parts):
        raise ReceiptError("A part has a residual_clip_norm, but one band, which pays nothing back, was admitted.")
    if not any(part.feedback_clip_norm for part in parts):
        return
    allowed = event.feedback_ratio or 0.0
    if batch_size is None or not math.isfinite(batch_size):
        raise ReceiptError("The published feedback was used: expected batch_size, B = qN, to know its ratio by.")
    ratio = feedback_ratio_upwards(
        ((part.clip_norm, part.feedback_clip_norm, part.noise_multiplier) for part in parts),
        noise_multiplier=event.noise_multiplier,
        batch_size=batch_size,
    )
    if Fraction(ratio) > Fraction(allowed):
        raise ReceiptError(
            f"The published feedback has the ratio {ratio!r}, but {allowed!r} was admitted; admit a "
            "HiddenFeedbackGaussian of what is released."
        )


def _noised(
    sums: Mapping[str, Mapping[str, Tensor]],
    parts: tuple[Part, ...],
    bands: int,
    noise: ExactGaussian,
    counted_twice: frozenset[str],
    ranks: Ranks,
) -> dict[str, TensorDict]:
    """The ranks' sums added up, with noise that is drawn once: each rank's for its own slice of all coordinates."""
    places = [(part, name, value) for part in parts for name, value in sums[part.name].items()]
    length = sum(value.numel() for _, _, value in places)
    own = ranks.slice_of_sum(torch.cat([value.reshape(-1) for _, _, value in places]))
    first, at = ranks.rank * len(own), 0
    for part, name, value in places:
        low, high = max(at, first), min(at + value.numel(), first + len(own))
        if low < high:
            drawn = noise.floored((high - low,), std=_std(part, bands, twice=name in counted_twice))
            own[low - first : high - first] += torch.from_numpy(drawn).to(own.device)
        at += value.numel()
    released: dict[str, TensorDict] = {part.name: {} for part in parts}
    pieces = ranks.whole(own, length).split([value.numel() for _, _, value in places])
    for (part, name, value), piece in zip(places, pieces, strict=True):
        released[part.name][name] = piece.view(value.shape)
    return released


def _std(part: Part, bands: int, *, twice: bool) -> float:
    """Of a coordinate's noise, in grid steps; σ/√2 where it is counted twice."""
    std = part.noise_on_grid(bands)
    # A float above 1/√2, and the product rounded up.
    return math.nextafter(std * math.nextafter(math.sqrt(0.5), 1.0), math.inf) if twice else std
