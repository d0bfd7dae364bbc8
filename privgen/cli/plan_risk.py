"""What `privgen plan` says of risk: consent where a promise promises little, words and figures, and of what groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from accountant.audit.risk import Risks
    from accountant.plans.plan import Plan

group_size_option = click.option(
    "--group-size",
    type=click.IntRange(min=1),
    metavar="K",
    help="Say the risk of K records together too: one person, several images.  [default: 1, 2, 5, 10]",
)
accept_option = click.option(
    "--accept-weak-privacy", is_flag=True, help="Plan for an ε above 20, which promises next to nothing."
)


def require_acceptance(epsilon: float, *, accepted: bool) -> None:
    """A usage error where so large an ε was not asked for in so many words."""
    from privgen.report.risk import VERY_WEAK, weakness

    said = weakness(epsilon)
    if epsilon > VERY_WEAK and not accepted and said is not None:
        raise click.UsageError(f"{said} If it is meant, add --accept-weak-privacy.")


def warn_of_weakness(plan: Plan) -> None:
    """One line where a plan's ε promises little."""
    from privgen.cli.console import warn
    from privgen.report.risk import weakness

    said = weakness(plan.epsilon)
    if said is not None:
        warn(said)


def risks_for(plan: Plan, group_size: int | None) -> Risks:
    """Of one record, of the usual groups, and of one of so many records where it was asked for."""
    from accountant.audit.risk import GROUP_SIZES, risks_of_plan

    return risks_of_plan(plan, GROUP_SIZES if group_size is None else (*GROUP_SIZES, group_size))


def say_risk(plan: Plan, group_size: int | None) -> None:
    """Two sentences and a table, and what is known of so few records."""
    from privgen.cli.console import console
    from privgen.report.expectation import expectation
    from privgen.report.plan import render_table
    from privgen.report.risk import CAPTION, how_to_read, in_words, risk_head, risk_rows

    risks = risks_for(plan, group_size)
    epsilon = plan.epsilon if plan.verified is None else min(plan.epsilon, plan.verified.epsilon)
    console.print(in_words(risks, epsilon=epsilon, delta=plan.delta), markup=False, soft_wrap=True)
    console.print(render_table(CAPTION, risk_head(), risk_rows(risks)))
    console.print(how_to_read(risks), markup=False, soft_wrap=True, style="dim")
    expected = expectation(plan)
    if expected is not None:
        console.print(expected, markup=False, soft_wrap=True)
