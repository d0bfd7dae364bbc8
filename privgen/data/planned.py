"""Whether data are those that a plan states, and what their owner alone is told.

What a record decides is its own contribution. So the number of records is the plan's N and not a count of them, classes
and shape are the plan's, and what is odd about single records is a private note. What is refused is far off, and is the
domain of the promise (docs/privacy.md).
"""

from __future__ import annotations

import shlex

import numpy as np

from accountant.budget import Neighbouring
from accountant.plans.plan import Plan
from privgen.catalogue import DATASETS, is_own
from privgen.data.left_out import lines_of
from privgen.data.records import DataSet
from privgen.errors import DataError

# A data set that holds this share more or fewer than N records is another one.
FAR_OFF = 0.1


def require_planned_source(plan: Plan, name: str) -> None:
    """Raise DataError, before anything is read, unless the plan says what to take of these data.

    Args:
        name: as `source_name` gives it.
    """
    if not is_own(name):
        return
    if plan.dataset in DATASETS:
        raise DataError(
            f"The plan is for data set {plan.dataset}, not for {name}; plan again with --dataset {shlex.quote(name)}."
        )
    if plan.public_facts is None:
        once = f"names its data by a path ({plan.dataset}), as plans once did, and " if _is_path(plan.dataset) else ""
        raise DataError(
            f"The plan {once}states no classes and no shape of images, which the records must not decide; plan again "
            f"by privgen plan --dataset {shlex.quote(name)}, which proposes them."
        )


def require_planned_data(plan: Plan, data: DataSet) -> None:
    """Raise DataError unless a data set is one that the plan may be carried out on.

    Its name, classes and shape are the plan's; it holds N records to a tenth of N; and where a record may be replaced,
    its identity is one that a replacement keeps.
    """
    if _is_path(plan.dataset):
        require_planned_source(plan, plan.dataset or "")
    if plan.dataset is not None and plan.dataset != data.name:
        raise DataError(
            f"The plan is for data set {plan.dataset}, not for {data.name}; plan again with --dataset {data.name}."
        )
    _require_facts(plan, data)
    require_replaceable(plan.neighbouring, data)
    size = len(data.train.labels)
    if abs(size - plan.dataset_size) > FAR_OFF * plan.dataset_size:
        far = f"The plan is for N = {plan.dataset_size} records and {data.name} has {size}, over {FAR_OFF:.0%} away"
        raise DataError(
            f"{'; '.join((far, *lines_of(data.left_out)))}. Plan again with --dataset-size {size}, or give the data "
            "that were planned for."
        )


def require_replaceable(neighbouring: Neighbouring, data: DataSet) -> None:
    """Raise DataError where a record may be replaced and no identity of these data would be kept."""
    if neighbouring is Neighbouring.REPLACE_ONE and not data.keeps_ids:
        raise DataError(
            f"The plan is for replace-one, and no record of {data.name} has an identity that a record in its place "
            "would keep: content is none, nor is a path with the class in it. Give ids (an array ids in an .npz, a "
            "column id in a manifest), or plan with --neighbouring add-or-remove-one."
        )


def _is_path(dataset: str | None) -> bool:
    return dataset is not None and is_own(dataset)


def _require_facts(plan: Plan, data: DataSet) -> None:
    facts = plan.public_facts
    if facts is None:
        return
    shape = data.train.images.shape[1:]
    if data.train.class_names != facts.classes or shape != facts.shape:
        raise DataError(
            f"The plan states {len(facts.classes)} classes of images {facts.shape}, and {data.name} was loaded with "
            f"{len(data.train.class_names)} of {shape}; load it with the plan's public facts."
        )


def private_notes(data: DataSet, *, stated_size: int) -> tuple[str, ...]:
    """What only the owner of the data is told: never part of a plan, a ledger or a report.

    Args:
        stated_size: N of the plan.
    """
    notes = list(lines_of(data.left_out))
    size = len(data.train.labels)
    if size != stated_size:
        notes.append(f"{size} records are trained on, and N = {stated_size} is what the plan states and divides by")
    counts = np.bincount(data.train.labels, minlength=len(data.train.class_names))
    empty = [name for name, count in zip(data.train.class_names, counts, strict=True) if not count]
    if empty:
        shown = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        notes.append(
            f"{len(empty)} of {len(counts)} classes have no record to train on ({shown}) and come out as noise"
        )
    if not len(data.test.labels):
        notes.append("no record is held out, so nothing can be evaluated on records that were not trained on")
    return tuple(notes)
