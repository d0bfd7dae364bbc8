"""Gates of `privgen evaluate`: which can be asked, and what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privgen.cli.gates import GateOptions, GatesAsked, end_by_gates, gates_asked, say_gates

if TYPE_CHECKING:
    from privgen.metrics.result import EvaluationRecord


def asked_of_evaluation(given: GateOptions) -> GatesAsked | None:
    """The gates, before anything is measured; None where nothing is asked."""
    from privgen.metrics.evaluation_gates import evaluation_gates

    return gates_asked("evaluate", given, kinds=evaluation_gates())


def conclude(asked: GatesAsked | None, result: EvaluationRecord, *, on_stdout: bool) -> None:
    """One line a gate, the files, and exit status 1 where one was not met.

    Args:
        on_stdout: whether stdout is for people.
    """
    from accountant.gates import judge
    from privgen.metrics.evaluation_gates import measured

    if asked is None:
        return
    judged = judge(asked.gates, measured(result))
    say_gates(judged, asked, of=result["images"], on_stdout=on_stdout)
    end_by_gates(judged)
