"""What was spent before on the same records, said on the screen: by `train`, and by `plan` where the data are at hand.

Loads no torch. It is private and goes to stderr.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from privgen.cli.console import err_console, warn

if TYPE_CHECKING:
    from accountant.plans.plan import Plan
    from privgen.data import DataSet

_MOST_NAMES = 5


def tell_spent_before(plan: Plan, data: DataSet) -> None:
    """Say what this machine knows of earlier runs on these records; nothing where it knows none."""
    from accountant.bound_text import exact_text, upper_text
    from accountant.errors import LedgerError
    from accountant.ledger.register import SpendRegister
    from privgen.training.spent_records import spent_before

    try:
        found = spent_before(plan, data.train.contents(), register=SpendRegister())
    except (OSError, LedgerError) as error:
        warn(f"What was spent before on these records is not known: {error}")
        return
    if found is None:
        return
    names = ", ".join(f"{run.name} ({run.date})" for run in found.runs[:_MOST_NAMES])
    more = f" and {len(found.runs) - _MOST_NAMES} more" if len(found.runs) > _MOST_NAMES else ""
    err_console.print(
        f"Spent before: up to {found.records} of these {len(data.train.labels)} records were in {names}{more}, which "
        f"may cost ε = {upper_text(found.epsilon)} at δ = {exact_text(plan.delta)}. Together with this plan: ε = "
        f"{upper_text(found.with_plan)} for a record in all of them (a Rényi filter at order {found.order:.4g}). "
        "One promise over several runs is an account: privgen account new NAME, then privgen train --account NAME. "
        "Private: do not publish this line. Resized or relabelled copies of records are not recognised, nor are runs "
        "on other machines.",
        style="yellow",
        markup=False,
        soft_wrap=True,
    )


def tell_where_at_hand(plan: Plan, source: str | None, data_dir: Path | None) -> None:
    """The same before anything is trained, for data of one's own that the plan was made from.

    Args:
        source: what they are loaded by, or None where the plan names none: then nothing is read.
    """
    from accountant.ledger.register import SpendRegister
    from privgen.data import load_data

    if source is not None and not SpendRegister().empty:
        tell_spent_before(plan, load_data(source, data_dir, facts=plan.public_facts))
