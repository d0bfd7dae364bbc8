"""One release of a warm start: receipt → sums over all records → noise → what the method makes of them.

Guarantees: records enter through `Statistics.sums` alone, and what it returns leaves through `release.gaussian` alone.
No coin is drawn: every record is in every one of these releases, and they are charged so.
"""

from __future__ import annotations

from typing import Any

from accountant.ledger.receipt import Receipt
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.ranks import ALONE, Ranks
from privgen.mechanism.release import gaussian
from privgen.training.method import Learner


def statistics_step(
    learner: Learner, plan: Plan, *, receipt: Receipt, records: Any, noise: ExactGaussian, ranks: Ranks = ALONE
) -> None:
    """Release the warm start's statistics number `receipt.place`, and have the method take them up.

    Args:
        records: all of them, as `TrainingRecords.everything` gives them; or, of several ranks, those of its shard.
        ranks: who takes this step together.

    Raises:
        ReceiptError: the receipt was used or is for another event.
    """
    statistics = learner.statistics
    assert plan.warm_start is not None and statistics is not None  # `begin` has seen to it
    release = plan.warm_start.release_at(receipt.place)
    part = Part(name=release.kind, clip_norm=release.sensitivity, noise_multiplier=release.noise_multiplier)
    sums = statistics.sums(release, records, grid_step=part.step)
    noised = gaussian(
        {part.name: sums}, parts=(part,), bands=1, receipt=receipt, noise=noise,
        counted_twice=statistics.counted_twice, ranks=ranks,
    )[part.name]  # fmt: skip
    statistics.update(receipt.place, noised, grid_step=part.step)
    learner.after_statistics()
