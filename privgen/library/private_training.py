"""`PrivateTraining`: a model, its optimiser and its data in; a private run out, with ledger, checkpoints and report.

Everything is looked at when it is made, before anything is spent: data, optimiser, layers, loss, and the plan is solved
for. Iterating begins the run, or goes on with it, and ends by itself where plan or budget ends.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, cast

from torch import nn

from accountant.bound_text import exact_text, upper_text
from accountant.errors import LedgerError
from accountant.html_table import html_table
from accountant.plans.parts import Feedback
from accountant.plans.plan import Plan
from privgen.library.arguments import Further, run_options, split
from privgen.library.checks import require_folder, require_model, require_numbers, try_loss, warn_of_earlier_runs
from privgen.library.evaluation import Evaluation, evaluated, require_evaluation
from privgen.library.model_method import Loss, ModelLearner, ModelMethod, ModelSettings, Numbers, RecordLossOf
from privgen.library.optimiser import Optimiser, Schedule, progress_of, require_optimiser, require_schedule
from privgen.library.planned import plan_for
from privgen.library.reading import Augment
from privgen.library.records import Identity, LibraryRecords
from privgen.mechanism.ranks import TIMEOUT, torchrun_rank
from privgen.report.write import write_reports
from privgen.training.begin import begin
from privgen.training.distributed import World
from privgen.training.loop import StepReport, run
from privgen.training.opening import open_run
from privgen.training.resume import resume as resume_run
from privgen.training.run_folder import RunFolder
from privgen.training.session import Halted, Options, Session


class PrivateTraining:
    """Private training of a model; an iterable of one report a step.

    Args:
        model: float32 or float64, on its device; no layer may mix records. The run changes this very object.
        optimizer: of torch.optim, of the model's trainable parameters. schedule: of it, stepped once a step; or None.
        dataset: map-style, or tensors with the records first (one, or a tuple of them).
        loss: (model, record) → scalar of one record, `record` being `dataset[i]` with its tensors as they are: no batch
            dimension. It is vectorised, so it cannot see another record.
        out: the run's folder. resume: go on with the run that is there, from its last checkpoint, into this model.
        plan: one that is made already; or None, and it is solved for from what is given beside.
        identity: who a record is: a column of it, or a function of it, which gives text or an integer. stable_index:
            your word that index i is the same record's for good; the audit lists it as taken on trust. With neither, a
            record is its content, and equal ones are counted.
        augment: (record, torch.Generator) → record. views: how many of them a drawn record has; they are one record.
        numbers: random numbers of each record's own, by name: ("normal" or "uniform", shape); the loss gets them as a
            third argument, a dict.
        workers: processes that read records beside the step, each with a copy of the data set; 0 reads in a thread.
            Tensors are indexed where they are.
        evaluate: (module) → anything, called every `evaluate_every` steps and after the last one with what would be
            released, in eval mode and without gradients. It is for *public* records: what it says of held-out private
            ones is charged nowhere, and a warning says so.
        further: of the plan epsilon, delta, batch_size (expected, qN), steps, dataset_size (N, which is public;
            len(dataset) where it is not given) and whatever `planners.plan` takes; checkpoint_every, keep_checkpoints,
            physical_batch, normalise (γ of normalised gradients), and ema, the decay of a moving average which is then
            what is released; signing_key, account
            (one, or its file), anchor, accept_loss, extend, rank_timeout and insecure_fixed_seed as `privgen train` has
            them.

    Started by torchrun it trains on all ranks together (docs/torchrun.md): model and optimiser are rank 0's everywhere,
    `out` is on rank 0's machine, and every rank yields the same reports.

    Attributes:
        plan: the plan, which is solved before anything is spent. evaluations: what `evaluate` gave, by step.
        outcome: why it ended, or None while it has not.

    Raises:
        PrivgenError: of its tree, before anything is spent: a loss that is no scalar, a layer that mixes records, an
            optimiser of other parameters, N that does not fit the plan, a folder that holds another run.
        InvalidValue, PlannerError: there is no such plan.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimiser,
        dataset: Any,
        *,
        loss: Loss,
        out: Path | str,
        plan: Plan | None = None,
        resume: bool = False,
        schedule: Schedule | None = None,
        identity: Identity | None = None,
        stable_index: bool = False,
        augment: Augment | None = None,
        views: int = 1,
        numbers: Numbers | None = None,
        workers: int = 0,
        evaluate: Evaluation | None = None,
        evaluate_every: int = 100,
        **further: Unpack[Further],
    ) -> None:
        require_model(model)
        require_optimiser(optimizer, model)
        if schedule is not None:
            require_schedule(schedule, optimizer)
        progress_of(optimizer, schedule)
        planned, settings, options = split(further)
        self._settings = ModelSettings(**settings, views=views)
        self._timeout = options.pop("rank_timeout", TIMEOUT)
        self._options = run_options(options, next(model.parameters()).device, rank=torchrun_rank())
        self._folder, self._resume = RunFolder(Path(out)), resume
        if torchrun_rank() == 0:
            require_folder(self._folder, resume=resume)
        self._data = LibraryRecords(
            dataset, identity=identity, stable_index=stable_index, augment=augment, views=views,
            workers=workers,
        )  # fmt: skip
        record_loss = RecordLossOf(
            loss=loss, form=self._data.drawn_form, views=None if augment is None else views,
            numbers=require_numbers(numbers or {}),
        )  # fmt: skip
        self._method = ModelMethod(model, optimizer, schedule, record_loss, self._settings)
        self.plan = plan_for(self._folder, given=plan, asked=planned, records=len(self._data), resume=resume)
        self._method.require_planned(self.plan)
        self._data.require_planned(self.plan)
        try_loss(self._method, self._data)
        if not resume and torchrun_rank() == 0:
            warn_of_earlier_runs(self.plan, self._data)
        self._evaluate, self._evaluate_every = require_evaluation(evaluate, evaluate_every)
        self.evaluations: dict[int, Any] = {}
        self._session: Session | None = None
        self._stopping = False
        self.outcome: str | None = None

    def _repr_html_(self) -> str:
        """The run as a notebook shows it: where it stands, and its plan."""
        session = self._session
        rows = [("run", str(self._folder.path)), ("state", self.outcome or ("under way" if session else "not begun"))]
        if session is not None:
            charged = f"{session.guard.steps} of {self.plan.steps} planned, {session.guard.held} of them in the weights"
            rows.append(("steps charged", charged))
        return html_table("Private training", rows) + self.plan._repr_html_()

    def __str__(self) -> str:
        plan, (part,) = self.plan, self.plan.parts
        fed = {
            Feedback.BANDED: f"error feedback over {plan.bands} bands",
            Feedback.PAPER: "the published error feedback",
            Feedback.NONE: "no error feedback",
        }
        spends = plan.epsilon if plan.verified is None else plan.verified.epsilon
        return (
            f"Private training of {type(self._method.model).__name__} on N = {plan.dataset_size} records: "
            f"{plan.iterations} steps of expected batch {plan.expected_batch_size:.6g}, noise multiplier "
            f"{plan.noise_multiplier:.4f}, clip norm {part.clip_norm:g}, {fed[plan.feedback]}. It spends at most ε = "
            f"{upper_text(spends)} of {exact_text(plan.epsilon)} at δ = "
            f"{exact_text(plan.delta)} ({plan.neighbouring.value}). Run: {self._folder.path}"
        )

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        return self._method.model

    @property
    def averaged(self) -> nn.Module:
        """What is released: the moving average where there is one, from the first step on; otherwise the model."""
        learner = None if self._session is None else self._session.state.learner
        return learner.released() if isinstance(learner, ModelLearner) else self.model

    def stop(self) -> None:
        """End before the next step, with a checkpoint from which a resume goes on cleanly."""
        self._stopping = True

    def __iter__(self) -> Iterator[StepReport]:
        """Begin the run, or go on with it. Leaving the loop by `break` writes a checkpoint, as `stop` does.

        Yields:
            One report a step; its losses are empty, for a loss on private records is not shown.

        Raises:
            RunError, LedgerError, OSError: as `privgen.training.loop.run` has them. DataError: the data set has changed
                its length; nothing was charged for the step.
        """
        self._data.require_same_length()
        opened = self._open()
        if isinstance(opened, Halted):
            self.outcome = opened.reason
            return
        self._session, self._resume, self._stopping, self.outcome = opened, True, False, None
        with opened as session, contextlib.closing(self._data):
            steps = run(session, stop=self._asked_to_stop)
            try:
                yield from self._evaluated(steps)
            except GeneratorExit:
                for _ in run(session, stop=lambda: True):
                    pass  # a checkpoint, and no step
                self.outcome = session.outcome
                raise
            self.outcome = session.outcome
            _leave_reports(session)

    def _evaluated(self, steps: Iterator[StepReport]) -> Iterator[StepReport]:
        """The same reports, with an evaluation before those that are due."""
        with contextlib.closing(cast("Generator[StepReport, None, None]", steps)):
            for report in steps:
                due = report.step % self._evaluate_every == 0 or report.step == report.planned
                if self._evaluate is not None and due and torchrun_rank() == 0:
                    self.evaluations[report.step] = evaluated(self.averaged, self._evaluate)
                yield report

    def _asked_to_stop(self) -> bool:
        self._data.require_same_length()
        return self._stopping

    def _open(self) -> Session | Halted:
        def opening(options: Options) -> Session | Halted:
            path, method, data = self._folder.path, self._method, self._data
            if self._resume:
                return resume_run(path, method=method, data=data, options=options, plan=self.plan)
            return begin(path, plan=self.plan, method=method, settings=self._settings, data=data, options=options)

        options = replace(self._options, world=World.joined(timeout=self._timeout))
        return open_run(opening, plan=self.plan, method=self._method, data=self._data, options=options)


def _leave_reports(session: Session) -> None:
    """Leave the reports beside what was released. The run has halted: a full disk here takes nothing from it."""
    if not session.world.leads:
        return
    run_folder = session.folder.path
    if not session.released:
        if session.outcome != "interrupted":
            warnings.warn(f"{session.outcome}. accept_loss=True releases what there is.", stacklevel=3)
        return
    try:
        session.name_reports(write_reports(run_folder))
    except (OSError, LedgerError) as error:
        warnings.warn(
            f"No report was written ({error}); make room, then: privgen audit {run_folder} --format html --out FILE",
            stacklevel=3,
        )
