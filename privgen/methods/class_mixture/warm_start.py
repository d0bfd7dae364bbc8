"""One release of a warm start: receipt → sums over all records → noise → the mixture under the generator.

Guarantees: records enter through `class_statistics.sums_of` alone, and what it returns leaves through
`release.gaussian` alone. No coin is drawn: every record is in every one of these releases, and they are charged so.
"""

from __future__ import annotations

from accountant.ledger.guard import Receipt
from accountant.plans.plan import Part, Plan
from privgen.data import ImageData
from privgen.mechanism.noise import NoiseSource
from privgen.mechanism.release import gaussian
from privgen.methods.class_mixture.class_sums import sums_of, take_up
from privgen.training.private_step import average_generator
from privgen.training.state import TrainState


def statistics_step(state: TrainState, plan: Plan, *, receipt: Receipt, records: ImageData, noise: NoiseSource) -> None:
    """Release the warm start's statistics number `receipt.step` and put them into the generator and its average.

    Raises:
        ReceiptError: the receipt was used or is for another event.
    """
    assert plan.warm_start is not None
    release = plan.warm_start.release_at(receipt.step)
    mixture = state.networks.generator.mixture
    part = Part(name=release.kind, clip_norm=release.sensitivity, noise_multiplier=release.noise_multiplier)
    sums = {release.kind: {"sums": sums_of(release, mixture, records.images, records.labels)}}
    noised = gaussian(sums, parts=(part,), bands=1, receipt=receipt, noise=noise)[release.kind]["sums"]
    take_up(plan.warm_start, receipt.step, mixture, noised.cpu(), state.latents)
    average_generator(state, 1.0)  # no weight moves, and the average's mixture is this one
