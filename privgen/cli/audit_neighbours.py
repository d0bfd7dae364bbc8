"""`privgen audit --neighbours MODULE:FUNCTION`: neighbour replay of a step of somebody's own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from privgen.cli.audit_claim import as_json, render_report_as

if TYPE_CHECKING:
    from privgen.attacks.neighbours import PrivateStep, Replay


def replay(named: str, *, trials: int | None, seed: int | None) -> Replay:
    """Load what is named, call it, and replay the step that it gives."""
    from privgen.attacks.neighbours import TRIALS, replay_neighbours

    return replay_neighbours(_step(named), trials=trials or TRIALS, seed=seed or 0)


def render_replay(found: Replay, named: str, form: str, *, colour: bool) -> str:
    """What was found, in one of the audit's formats."""
    from privgen.report.neighbours import replay_report

    if form == "json":
        return as_json({"step": named, **found.to_json()})
    return render_report_as(replay_report(found, named), form, colour=colour)


def end_by_replay(found: Replay) -> None:
    """Exit status 1 and one red line where one record moved more than is charged."""
    from privgen.cli.console import err_console

    if not found.holds:
        row = next(row for row in found.rows if row.problem is not None)
        text = f"Error: the step does not do what is charged: {row.kind}: {row.problem}"
        err_console.print(text, style="bold red", markup=False, soft_wrap=True)
        sys.exit(1)


def _step(named: str) -> PrivateStep:
    from privgen.attacks.neighbours import PrivateStep
    from privgen.errors import EvaluationError

    module, _, function = named.partition(":")
    if not module or not function:
        raise click.UsageError(f"Expected --neighbours {named!r} to be MODULE:FUNCTION, such as mystep:step.")
    # As `python -m` has it: what lies here is found.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise EvaluationError(f"Cannot load --neighbours {named}: {error}; name a module and its function.") from error
    step = found() if callable(found) else found
    if not isinstance(step, PrivateStep):
        raise EvaluationError(
            f"Expected {named} to give a privgen.attacks.neighbours.PrivateStep, got {type(step).__name__}."
        )
    return step
