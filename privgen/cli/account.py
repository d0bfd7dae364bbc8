"""`privgen account`: one budget over many runs. Loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from privgen.cli.encoding import echo_json
from privgen.cli.suggestions import SuggestingGroup

if TYPE_CHECKING:
    from accountant.ledger.account import Account, AccountState

FOLDER = Path("accounts")


@click.group(cls=SuggestingGroup)
def command() -> None:
    """One budget for a data set over many runs and searches.

    Ten tries at ε = 1 are not one try at ε = 1. Runs that are trained with --account spend from it before
    they spend from their own budget, and stop when it is spent.
    """


NEW_EPILOG = """\b
Example:
  privgen account new clinic --epsilon 3 --delta 1e-6 --dataset clinic-scans --for-plan plan.json
  privgen train --plan plan.json --out runs/first --account clinic
"""

SHOW_EPILOG = """\b
Examples:
  privgen account show clinic
  privgen account show clinic --json
"""


@command.command("new", epilog=NEW_EPILOG)
@click.argument("name")
@click.option("--epsilon", type=float, required=True, help="ε of all runs together, > 0.")
@click.option("--delta", type=float, required=True, help="δ of all runs together, in (0, 1).")
@click.option("--dataset", help="Name of the data set; runs on another are refused.")
@click.option(
    "--neighbouring",
    type=click.Choice(["add-or-remove-one", "replace-one"]),
    default="add-or-remove-one",
    show_default=True,
    help="Which data sets count as neighbours.",
)
@click.option(
    "--for-plan",
    "plan_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Choose the filter's order for runs like this plan.",
)
@click.option("--order", type=float, help="Rényi order of the filter, > 1.  [default: chosen from plan or budget]")
def new(
    name: str,
    epsilon: float,
    delta: float,
    dataset: str | None,
    neighbouring: str,
    plan_path: Path | None,
    order: float | None,
) -> None:
    """Make the account NAME, in accounts/NAME.jsonl (or in the file that NAME is the path of)."""
    from accountant.budget import Budget, Neighbouring
    from accountant.errors import InvalidValue
    from accountant.ledger.account import Account, default_order
    from accountant.plans.plan import Plan
    from privgen.cli.console import console

    try:
        budget = Budget(epsilon=epsilon, delta=delta, neighbouring=Neighbouring(neighbouring))
    except InvalidValue as error:
        raise click.BadParameter(str(error)) from error
    if order is None and plan_path is not None:
        plan = Plan.load(plan_path)
        order = default_order(budget, plan.event_of(plan.schedule()[0]))
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        made = Account.new(path, budget=budget, dataset=dataset, order=order)
    except InvalidValue as error:
        raise click.BadParameter(str(error), param_hint="--order") from error
    console.print(f"{made.path}: {_line(made.state())}", markup=False, soft_wrap=True)


@command.command("show", epilog=SHOW_EPILOG)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, and nothing else, on stdout.")
def show(name: str, as_json: bool) -> None:
    """What the account NAME has spent, and by which runs."""
    from accountant.ledger.account import Account
    from privgen.cli.console import console

    state = Account(_path(name)).state()
    if as_json:
        echo_json(_to_json(state))
        return
    console.print(_line(state), markup=False, soft_wrap=True)
    for run, steps in state.runs.items():
        console.print(f"  {run}: {steps} steps reserved", markup=False, soft_wrap=True)


def account_of(name: str | None) -> Account | None:
    """The account that an option names, or None."""
    from accountant.ledger.account import Account

    return None if name is None else Account(_path(name))


def _path(name: str) -> Path:
    path = Path(name)
    return path if path.suffix == ".jsonl" or len(path.parts) > 1 else FOLDER / f"{name}.jsonl"


def _line(state: AccountState) -> str:
    from accountant.bound_text import upper_text

    budget = state.budget
    return (
        f"ε = {upper_text(state.epsilon_spent)} spent of {budget.epsilon:g} at δ = {budget.delta:g} "
        f"({budget.neighbouring.value}), {state.spent / state.limit:.1%} of the divergence {state.limit:.4g} that the "
        f"filter allows at order {state.order:g}; {len(state.runs)} runs, {state.steps} steps"
        + (f"; data set {state.dataset}" if state.dataset else "")
    )


def _to_json(state: AccountState) -> dict[str, object]:
    budget = state.budget
    return {
        "schema": "privgen.account/1",
        "target": {"epsilon": budget.epsilon, "delta": budget.delta, "neighbouring": budget.neighbouring.value},
        "dataset": state.dataset,
        "order": state.order,
        "limit": state.limit,
        "spent": {"divergence": state.spent, "epsilon": state.epsilon_spent},
        "steps": state.steps,
        "runs": dict(state.runs),
    }
