"""A warm start within a part of the budget: how much noise its releases get, and how it is divided among them.

the least joint z for which the statistics alone cost fraction · ε      1/z_i² = share_i / (z² · total)

with total = 1 + spare releases · the largest share, for a crash may have the dearest release made once more.

>>> start = warm_start_within(Budget(epsilon=10.0, delta=1e-5), fraction=0.4)
>>> start.steps, start.spare_releases, round(start.noise_multiplier, 2)
(7, 1, 1.53)
>>> bold = warm_start_within(Budget(epsilon=10.0, delta=1e-5), fraction=0.4, spare_releases=0)
>>> round(bold.noise_multiplier, 2)
1.16
"""

from __future__ import annotations

import math
from dataclasses import replace

from accountant.budget import Budget
from accountant.errors import InvalidValue
from accountant.plans.warm_start import WarmStart
from accountant.scalars import is_number
from planners.solving.cost import EventFamily
from planners.solving.solutions import Target, least_noise

# In root mean squares of pixels in [0, 1]: about an image's, and about an image's less its class's mean.
CLIP_NORM, CENTRED_CLIP_NORM = 0.5, 0.25
ROUNDS = 4
# Of the warm start's cost. Covariances have the most numbers to tell from noise (docs/results/statistics.md).
_MEANS, _COMPONENTS, _CLUSTERS, _COVARIANCES = 0.03, 0.12, 0.1, 0.75
# Directions that records are seen in, and how far below black the inside of what is black lies (there, too).
COMPONENTS, MARGIN = 63, 0.5


def warm_start_within(
    budget: Budget, *, fraction: float, spare_releases: int = 1, chosen: dict[str, str] | None = None, reason: str = ""
) -> WarmStart | None:
    """The warm start that costs `fraction` of ε by itself, or None for a fraction of 0.

    Args:
        budget: of the whole run. fraction: in [0, 1); what the steps are left with is solved for afterwards.
        spare_releases: that a crash may waste, within the fraction; with none a crash in the warm start ends the run.
        chosen: takes the sentence that says how it was chosen, after what already stands there. reason: of the
            fraction, for that sentence.

    Raises:
        InvalidValue: a value is out of range. ImpossiblePlan: no noise up to 1e6 is enough.
    """
    if not (is_number(fraction) and math.isfinite(fraction) and 0 <= fraction < 1):
        raise InvalidValue(f"Expected warm_start={fraction!r} in [0, 1): the part of ε that statistics may cost alone.")
    if fraction == 0:
        return None
    part = Target(budget=replace(budget, epsilon=fraction * budget.epsilon))
    z = least_noise(part, EventFamily(), sampling_rate=1.0, iterations=1)
    z *= math.sqrt(1 + spare_releases * _COVARIANCES)
    if chosen is not None:
        why = f"{chosen['warm_start']}: " if "warm_start" in chosen else ""
        chosen["warm_start"] = (
            f"{why}{ROUNDS + 3} releases of class statistics that cost {fraction:g} of ε by themselves"
            f"{f' ({reason})' if reason else ''}: means, {COMPONENTS} principal components, "
            f"{ROUNDS} rounds of clusters, covariances; black inside black {MARGIN:g} lower; "
            f"clip norms {CLIP_NORM:g} and {CENTRED_CLIP_NORM:g} of RMS; "
            f"{spare_releases} spare for a crash, charged as covariances"
        )
    return WarmStart(
        rounds=ROUNDS,
        clip_norm=CLIP_NORM,
        centred_clip_norm=CENTRED_CLIP_NORM,
        mean_noise_multiplier=z / math.sqrt(_MEANS),
        cluster_noise_multiplier=z / math.sqrt(_CLUSTERS / ROUNDS),
        covariance_noise_multiplier=z / math.sqrt(_COVARIANCES),
        spare_releases=spare_releases,
        components=COMPONENTS,
        component_noise_multiplier=z / math.sqrt(_COMPONENTS),
        margin=MARGIN,
    )
