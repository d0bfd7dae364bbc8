"""One release of a warm start: receipt → sums over all records → noise → the mixture under the generator.

Guarantees: records enter through `class_sums.integer_sums` alone, and what it returns leaves through
`release.gaussian` alone. No coin is drawn: every record is in every one of these releases, and they are charged so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from accountant.ledger.receipt import Receipt
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.release import gaussian
from privgen.methods.class_mixture.class_sums import COUNTED_TWICE, as_sums, integer_sums
from privgen.methods.class_mixture.mixture_fit import update_mixture

if TYPE_CHECKING:
    from privgen.data import ImageData
    from privgen.training.state import TrainState


def statistics_step(
    state: TrainState, plan: Plan, *, receipt: Receipt, records: ImageData, noise: ExactGaussian
) -> None:
    """Release the warm start's statistics number `receipt.place` and put them into the generator.

    Raises:
        ReceiptError: the receipt was used or is for another event.
    """
    assert plan.warm_start is not None
    release = plan.warm_start.release_at(receipt.place)
    mixture = state.networks.generator.mixture
    part = Part(name=release.kind, clip_norm=release.sensitivity, noise_multiplier=release.noise_multiplier)
    sums = integer_sums(release, mixture, records.images, records.labels, grid_step=part.step)
    noised = gaussian(
        {part.name: sums}, parts=(part,), bands=1, receipt=receipt, noise=noise, counted_twice=COUNTED_TWICE
    )[part.name]
    update_mixture(plan.warm_start, receipt.place, mixture, as_sums(noised, grid_step=part.step), state.latents)
