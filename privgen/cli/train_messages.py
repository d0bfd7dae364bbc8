"""What `privgen train` says before and after the steps: to confirm, how it goes on, and what is guaranteed, once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from privgen.cli.console import console, err_console
from privgen.cli.terminal_images import can_show, shown

if TYPE_CHECKING:
    from pathlib import Path

    from accountant.plans.plan import Plan
    from privgen.data import DataSet
    from privgen.training.session import Halted, Session


def in_a_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def show_found(plan: Plan, data: DataSet, path: Path, *, ask: bool) -> None:
    """Show plan, data and cost of a plan that was found and not named.

    Args:
        ask: have somebody confirm it; `click.Abort` where they do not.
    """
    from accountant.bound_text import exact_text

    unit = f"one record, {plan.neighbouring.value}"
    err_console.print(
        f"Found {path}: {plan.steps} steps on {len(data.train.labels)} records of {data.name} "
        f"({len(data.train.class_names)} classes). It spends ε = {exact_text(plan.epsilon)} at δ = "
        f"{exact_text(plan.delta)} ({unit}), for good, whatever comes of it.",
        markup=False,
        soft_wrap=True,
    )
    if ask:
        click.confirm("Train with it?", abort=True, err=True)


def say_halted(halted: Halted) -> None:
    """That there is nothing to go on with."""
    console.print(
        f"The budget is spent: this run has halted ({halted.reason}) after {halted.steps} charged steps. "
        "Nothing was changed.",
        markup=False,
        soft_wrap=True,
    )


def say_resumed(session: Session) -> None:
    """Where it goes on, and after what."""
    err_console.print(_resumed(session), markup=False, soft_wrap=True)


def _resumed(session: Session) -> str:
    body = next((e.body for e in reversed(session.ledger.entries) if e.kind == "resume"), None)
    if body is None:
        return f"Begun: {session.folder.path} had been interrupted before it began."
    how = "a clean stop" if body["clean"] else "a crash: what was owed is dropped, reserved steps stay charged"
    if session.doubt is not None:
        how += f" ({session.doubt})"
    return f"Resumed at {session.guard.steps} charged steps, {session.guard.held} of them in the weights, after {how}."


def say_end(session: Session) -> None:
    """Why it ended, what is guaranteed, once, and where things are; or what can be done where nothing was released."""
    from accountant.ledger.replay import replay

    folder, held, charged = session.folder, session.guard.held, session.guard.steps
    if not charged:
        err_console.print(f"Error: {session.outcome}.", style="bold red", markup=False, soft_wrap=True)
        return
    lines = [f"Halted: {session.outcome}. {charged} steps charged, {held} of them in the weights.", _guarantee(session)]
    if session.released:
        files = sorted(replay(session.ledger.entries).releases)
        lines.append(f"Released: {', '.join(str(folder.release / name) for name in files)}.")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    samples = folder.release / "samples.png"
    if session.released and samples.exists() and can_show(console):
        console.file.write(shown(samples.read_bytes()))
    if not session.released:
        err_console.print(
            f"Error: {session.loss}, and what crashes wasted is spent: nothing was released. Release these weights for "
            f"the same ε: privgen train --resume --accept-loss --out {folder.argument}; or begin another run, whose "
            "spend counts beside this one's (privgen plan --spare-blocks pays for crashes beforehand).",
            style="bold red",
            markup=False,
            soft_wrap=True,
        )


def _guarantee(session: Session) -> str:
    """The guarantee in a sentence, as an audit recomputes it, and in two what it means."""
    from accountant.audit.audit import price
    from accountant.audit.guarantee import guarantee_of
    from accountant.audit.risk import risks_of_guarantee
    from accountant.bound_text import exact_text, upper_text
    from accountant.ledger.replay import replay
    from privgen.report.risk import in_words

    state = replay(session.ledger.entries)
    found, budget = guarantee_of(state, price(state.segments, state.budget)), state.budget
    delta = exact_text(budget.delta)
    means = in_words(risks_of_guarantee(found, budget, (1,)), epsilon=found.epsilon, delta=budget.delta)
    return (
        f"Guarantee: whatever this run releases is ({upper_text(found.epsilon)}, {delta})-differentially private for "
        f"one record ({budget.neighbouring.value}), by {found.by}; ({exact_text(budget.epsilon)}, {delta}) was "
        f"promised.\n{means}"
    )
