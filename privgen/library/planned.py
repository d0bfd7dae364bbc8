"""The plan of a library run: one that is given, one that is solved for, or that of the run which goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accountant.budget import Neighbouring
from accountant.plans.plan import Plan
from accountant.plans.planned_method import LIBRARY
from planners import plan as solved
from privgen.errors import ConfigError, RunError
from privgen.training.run_folder import RunFolder


def plan_for(folder: RunFolder, *, given: Plan | None, asked: Mapping[str, Any], records: int, resume: bool) -> Plan:
    """The plan to train by.

    Args:
        asked: arguments of the plan, as `privgen.library.arguments.PlanArguments` has them. records: in the data set; N
            where no other is asked for. resume: whether the folder's run goes on.

    Raises:
        ConfigError: a plan and arguments of one, or neither. RunError: the run was begun with another plan.
        InvalidValue, PlannerError: there is no such plan.
    """
    if given is not None and asked:
        raise ConfigError(f"Give plan= or {', '.join(asked)}, not both.")
    begun = Plan.load(folder.plan) if resume and folder.plan.exists() else None
    wanted = given if given is not None else _solved(asked, records) if asked else begun
    if wanted is None:
        raise ConfigError("Give epsilon=, delta=, batch_size= and steps=, or plan=: what the training may cost.")
    if begun is not None and begun.digest != wanted.digest:
        raise RunError(
            f"{folder.path} was begun with another plan ({_differences(begun, wanted)}); omit it to go on with "
            "the run's own, or give another out=."
        )
    return wanted


def _solved(asked: Mapping[str, Any], records: int) -> Plan:
    values = {name: value for name, value in asked.items() if value is not None}
    if "epsilon" not in values:
        raise ConfigError("Give epsilon=: what the training may cost.")
    if "steps" in values:
        values["iterations"] = values.pop("steps")
    named = values.get("neighbouring")
    if named in [one.value for one in Neighbouring]:
        values["neighbouring"] = Neighbouring(named)
    return solved(**{"dataset_size": records, **values}, method=LIBRARY)


def _differences(begun: Plan, wanted: Plan) -> str:
    """The values that differ, in words."""
    one, other = dict(begun.to_json()), dict(wanted.to_json())
    names = [name for name in one if name != "defaults" and one[name] != other.get(name)]
    return "; ".join(f"{name} {one[name]!r:.40}, not {other.get(name)!r:.40}" for name in names[:3]) or "other defaults"
