"""The training loop: admit, draw, sum, release, update; a checkpoint now and then; a halt at the end.

    with session.begin(out, plan=plan, data=data, ...) as run_session:
        for report in run(run_session):
            ...                                  # progress; a test takes three steps

Halting is normal completion: final checkpoint, released files, `release` and `halt` entries.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from accountant.errors import BudgetExhausted
from accountant.ledger.receipt import Receipt
from accountant.plans.parts import STATISTICS, Part, Phase
from privgen.errors import RunError
from privgen.training.private_step import CanaryObserver, private_step
from privgen.training.row_checks import check_parts
from privgen.training.session import Session
from privgen.training.state import begin_segment
from privgen.training.statistics_step import statistics_step


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """What one step says of itself.

    Args:
        step: steps charged so far, this one included, without those that stand reserved. planned: the plan's.
        charged: the same with what stands reserved. held: how many of them are in the weights.
        epsilon_spent: by RDP, of `charged`; no guarantee by itself. epsilon: the budget's.
        losses: of released or generated values: post-processing, may be shown to anyone.
        nonfinite: records of this draw that counted as zero because a gradient was not finite; private.
        checkpoint: name of the checkpoint written after this step, or None.
        samples: a grid of samples that was written after it, or None.
    """

    step: int
    planned: int
    charged: int
    held: int
    epsilon_spent: float
    epsilon: float
    losses: Mapping[str, float] = field(default_factory=dict)
    nonfinite: int = 0
    checkpoint: str | None = None
    samples: Path | None = None


def run(
    session: Session, *, stop: Callable[[], bool] = lambda: False, keep: Callable[[], bool] = lambda: False
) -> Iterator[StepReport]:
    """Take steps until the plan's end, the budget's end, or `stop()`.

    Args:
        stop: asked before each step; True checkpoints and ends with outcome "interrupted".
        keep: asked after each step; True checkpoints and goes on.

    Yields:
        One report a step. `session.outcome` says afterwards why it ended.

    Raises:
        RunError: a parameter is no longer finite, and the last checkpoint is a good one; or the session was
            interrupted before, anywhere and by anything, and is dead.
        LedgerError, OSError: no room; what is in the ledger covers every step that ran.
    """
    session.require_alive()
    while True:
        if session.must_stop(stop()):
            _save(session)
            session.outcome = "interrupted"
            return
        place, plan = session.guard.held, session.plan
        phase = plan.phase_at(place)
        with session.turn():
            try:
                receipt = session.admit(plan.event_of(phase))
            except BudgetExhausted as exhausted:
                reason = _why(session, exhausted)
                report = None
            else:
                report = _step(session, phase, receipt)
        if report is None:
            break
        report = _shown(session, report)
        due = session.world.any(keep() or session.checkpoint_due)
        yield replace(report, checkpoint=_save(session)) if due else report
    session.training_watch.ended(held=session.guard.held)
    session.outcome = _finish(session, reason)


def _why(session: Session, exhausted: BudgetExhausted) -> str:
    """Why no step is left: the plan is done, or what may be charged is."""
    if session.guard.held >= session.plan.steps and session.extended:
        return "the budget is reached: what remained of it beside the plan's caps is used"
    if session.guard.held >= session.plan.steps:
        return f"the plan's {session.plan.iterations} iterations are done"
    return f"the budget is reached: {exhausted}"


def _step(session: Session, phase: Phase, receipt: Receipt) -> StepReport:
    state, learner = session.state, session.state.learner
    if receipt.cycle == 0 or state.event != receipt.event:
        begin_segment(state, session.plan, receipt.event)
    if phase.releases == STATISTICS:
        return _warm_step(session, receipt)
    progress = (session.guard.held - session.plan.warm_steps) / session.plan.iterations
    learner.begin_step(progress)
    chosen, canaries = _chosen(session, receipt)
    parts = session.plan.parts_in(phase)
    _look_at_rows(session, parts)
    drawn = private_step(
        state,
        session.plan,
        parts=parts,
        receipt=receipt,
        records=session.data.drawn(chosen, learner.device),
        noise=session.noise,
        planted=_watched(session, parts, receipt, canaries),
        ranks=session.world.ranks,
        gathered=session.gathered,
    )
    batch_size, nonfinite = session.world.totals(drawn.batch_size, drawn.nonfinite)
    losses = learner.free_step(progress, session.guard.steps)
    session.training_watch.after_step(
        learner, step=session.guard.steps, progress=progress, update_norms=drawn.update_norm
    )
    if session.world.leads:
        # Of several ranks the norms are those of rank 0's records.
        counts = {"step": session.guard.steps, "batch_size": batch_size, "nonfinite": nonfinite}
        session.folder.append_metrics({**counts, "median_norm": dict(drawn.median_norm), **losses})
    if not all(math.isfinite(value) for value in losses.values()):
        raise _diverged(session)
    return _report(session, losses=losses, nonfinite=nonfinite)


def _report(session: Session, *, losses: Mapping[str, float], nonfinite: int = 0) -> StepReport:
    return StepReport(
        step=session.guard.steps,
        planned=session.plan.steps,
        charged=session.guard.charged,
        held=session.guard.held,
        epsilon_spent=session.guard.epsilon_spent(),
        epsilon=session.plan.epsilon,
        losses=losses,
        nonfinite=nonfinite,
    )


def _shown(session: Session, report: StepReport) -> StepReport:
    """The report with the grid of samples that was due after it, if one was."""
    if not session.world.leads:
        return report
    learner, folder = session.state.learner, session.folder.samples
    return replace(report, samples=session.grids.write_if_due(learner, folder, step=report.step))


def _look_at_rows(session: Session, parts: tuple[Part, ...]) -> None:
    """The row check, once for each reservation."""
    if session.rows_checked_at == session.guard.reservations:
        return
    first, begun = session.rows_checked_at is None, session.clock()
    found = check_parts(session.state, parts, first=first, seed=session.guard.steps)
    if first:
        session.pace_by(session.clock() - begun)
    session.rows_checked_at = session.guard.reservations
    if session.world.leads:
        session.folder.append_row_check({"step": session.guard.steps, **found})


def _warm_step(session: Session, receipt: Receipt) -> StepReport:
    """One release of the warm start."""
    data, shard = session.data, session.shard
    statistics_step(
        session.state.learner, session.plan, receipt=receipt, noise=session.noise, ranks=session.world.ranks,
        records=data.everything if shard is None else data.everything_of(shard),
    )  # fmt: skip
    return _report(session, losses={})


def _chosen(session: Session, receipt: Receipt) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One draw: rows of the data, and of the canaries that are in."""
    chosen = session.sampler.draw(receipt.event, receipt.cycle)
    records = len(session.data.ids)
    return chosen[chosen < records], chosen[chosen >= records] - records


def _watched(
    session: Session, parts: tuple[Part, ...], receipt: Receipt, rows: NDArray[np.int64]
) -> CanaryObserver | None:
    planted, watch = session.planted, session.watch
    if planted is None or watch is None:
        return None
    drawn = torch.from_numpy(np.flatnonzero(planted.included)[rows]).to(watch.device)
    return watch.step(
        session.state,
        session.plan,
        parts=parts,
        receipt=receipt,
        records=tuple(tensor[drawn] for tensor in watch.records),
    )


def _save(session: Session) -> str:
    """A checkpoint, unless a weight is no longer finite: the last one must stay a good one."""
    learner = session.state.learner
    modules = (*learner.modules().values(), learner.released())
    if not all(bool(torch.isfinite(p).all()) for module in modules for p in module.parameters()):
        raise _diverged(session)
    return session.save()


def _diverged(session: Session) -> RunError:
    return RunError(
        f"Training diverged at step {session.guard.steps}: a loss or a weight is no longer finite. The last "
        f"checkpoint is good: resume with privgen train --resume --out {session.folder.argument} (the steps since "
        "then stay charged), or begin anew with lower learning rates."
    )


def _finish(session: Session, reason: str) -> str:
    """Checkpoint, release, halt: in this order, so that a crash between them is a resume away.

    Returns:
        Why the run ended. Where crashes wasted so much that the weights are not worth it, nothing is released and the
        ledger is left open for who accepts that.
    """
    _save(session)
    if not session.guard.steps:
        reason += "; nothing was spent and nothing was released"
        with session.turn():
            session.world.led(lambda: session.charging.halt(reason))
        return reason
    if session.loss is not None and not session.accept_loss:
        return f"{reason}; {session.loss}, so nothing was released"
    with session.turn():
        session.world.led(lambda: _release(session, reason))
        session.released = True
    return reason


def _release(session: Session, reason: str) -> None:
    session.room.let_go()
    release = session.folder.release
    released = session.state.learner.save(release, session.data.facts.class_names)
    digests = {name: hashlib.sha256((release / name).read_bytes()).hexdigest() for name in released}
    session.ledger.append("release", {"files": digests})
    session.charging.halt(reason)
