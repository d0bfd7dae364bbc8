"""What was spent before on the records that a run is about to use: the register of this machine, asked and told.

Private: it says which records were used together, so it is said on the screen and never in a release folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from accountant.bound_text import exact_text, upper_text
from accountant.ledger.account import default_order
from accountant.ledger.register import Digests, EarlierRun, SpendRegister, together
from accountant.plans.plan import Plan

_MOST_NAMES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SpentBefore:
    """What earlier runs on some of the same records may have cost, at the plan's δ and adjacency.

    Args:
        runs: the first one first. records: how many of the data's training records any of them had.
        epsilon: of them together. with_plan: of them and the plan together. order: α of the filter.
    """

    runs: tuple[EarlierRun, ...]
    records: int
    epsilon: float
    with_plan: float
    order: float


def spent_before(
    plan: Plan, contents: Iterable[bytes], *, register: SpendRegister, but: str | None = None
) -> SpentBefore | None:
    """What the register knows of the data's training records, or None where it knows nothing.

    Args:
        contents: each record as training sees it (`ImageData.contents`).
        but: a run that is not counted, by the digest of its ledger's first entry.

    Raises:
        OSError, LedgerError: the register cannot be read.
    """
    if register.empty:
        return None
    runs = register.earlier(register.digests(contents), but=but)
    if not runs:
        return None
    order, charges = runs[0].order, [run.charges for run in runs]
    return SpentBefore(
        runs=runs,
        records=max(run.shared for run in runs),
        epsilon=together(charges, budget=plan.budget, order=order),
        with_plan=together([*charges, plan.caps().composition()], budget=plan.budget, order=order),
        order=order,
    )


def in_words(found: SpentBefore, *, plan: Plan, records: int, remedy: str) -> str:
    """What their owner is told of it; private.

    Args:
        records: in the data. remedy: how several runs get one promise.
    """
    names = ", ".join(f"{run.name} ({run.date})" for run in found.runs[:_MOST_NAMES])
    more = f" and {len(found.runs) - _MOST_NAMES} more" if len(found.runs) > _MOST_NAMES else ""
    return (
        f"Spent before: up to {found.records} of these {records} records were in {names}{more}, which "
        f"may cost ε = {upper_text(found.epsilon)} at δ = {exact_text(plan.delta)}. Together with this plan: ε = "
        f"{upper_text(found.with_plan)} for a record in all of them (a Rényi filter at order {found.order:.4g}). "
        f"One promise over several runs is an account: {remedy}. "
        "Private: do not publish this line. Resized or relabelled copies of records are not recognised, nor are runs "
        "on other machines."
    )


def enter(
    plan: Plan,
    contents: Iterable[bytes],
    *,
    register: SpendRegister,
    run: str,
    name: str,
    date: str,
    extra_blocks: int = 0,
) -> None:
    """Enter a run into the register, with all that its caps allow.

    Raises:
        OSError, LedgerError: the register cannot be written to or read.
    """
    digests: Digests = register.digests(contents)
    earlier = () if register.empty else register.earlier(digests, but=run)
    # The first run on these records fixes the order, before a later one is chosen.
    order = earlier[0].order if earlier else default_order(plan.budget, plan.event_of(plan.schedule()[0]))
    charges = plan.caps(extra_blocks=extra_blocks).composition()
    register.remember(run=run, name=name, date=date, charges=charges, order=order, records=digests)
