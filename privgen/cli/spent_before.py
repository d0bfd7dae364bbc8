"""What was spent before on the same records, said on the screen: by `train`, and by `plan` where the data are at hand.

Loads no torch. It is private and goes to stderr.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from privgen.cli.console import err_console, warn

if TYPE_CHECKING:
    from accountant.plans.plan import Plan
    from privgen.data import DataSet


def tell_spent_before(plan: Plan, data: DataSet) -> None:
    """Say what this machine knows of earlier runs on these records; nothing where it knows none."""
    from accountant.errors import LedgerError
    from accountant.ledger.register import SpendRegister
    from privgen.training.spent_records import in_words, spent_before

    try:
        found = spent_before(plan, data.train.contents(), register=SpendRegister())
    except (OSError, LedgerError) as error:
        warn(f"What was spent before on these records is not known: {error}")
        return
    if found is None:
        return
    remedy = "privgen account new NAME, then privgen train --account NAME"
    err_console.print(
        in_words(found, plan=plan, records=len(data.train.labels), remedy=remedy),
        style="yellow",
        markup=False,
        soft_wrap=True,
    )


def tell_where_at_hand(plan: Plan, source: str | None, dataset: str | None, data_dir: Path | None) -> None:
    """The same before anything is trained, where the data that a plan names are at hand: read, and never downloaded.

    Args:
        source: what data of one's own are loaded by, or None. dataset: as it was named, or None: then nothing is read.
    """
    from accountant.ledger.register import SpendRegister
    from privgen.data import load_data
    from privgen.errors import DataError

    if SpendRegister().empty:
        return
    if source is not None:
        tell_spent_before(plan, load_data(source, data_dir, facts=plan.public_facts))
    elif dataset is not None and _published_here(dataset, data_dir):
        with contextlib.suppress(DataError, ImportError):  # a package that is missing, or files that are damaged
            tell_spent_before(plan, load_data(dataset, data_dir))


def _published_here(dataset: str, data_dir: Path | None) -> bool:
    """Whether a published data set is on this machine, as far as privgen itself knows how to find it."""
    from privgen.data.load import EMBEDDED, ON_DISK, find_dataset_folder

    return dataset in EMBEDDED or (dataset in ON_DISK and find_dataset_folder(dataset, data_dir) is not None)
