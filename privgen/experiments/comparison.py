"""Runs side by side: what each was certified to cost, every measure that was taken of it, and its seconds.

Each figure is read where it was made: ε by an audit of the ledger, measures from the runs' own evaluations. Runs of
different data sets, δ or adjacencies are shown all the same and said not to be comparable.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accountant.audit.audit import Audit, audit_run, release_of
from accountant.audit.checks import LARGEST_PROMISE
from accountant.bound_text import exact_text, upper_text
from accountant.plans.parts import Feedback
from privgen.errors import RunError
from privgen.metrics.text import Row, departures, rows
from privgen.report.content import tone_of
from privgen.report.document import HOLDS, Paragraph, Report, Section, Table
from privgen.report.text import plain
from privgen.report.write import sample_grid
from privgen.training.run_folder import RunFolder

SCHEMA = "privgen.comparison/1"
NO_PRIVACY = "WITHOUT PRIVACY"
_NOTHING = "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRun:
    """What is known of one run.

    Args:
        name: its folder's, made different from the others'. about: method and feedback, in words.
        audit: recomputed now. dataset: the plan's, or None. seconds: of a processor, or None where they were not kept.
        measures: of all its evaluations. departures: what an asterisk means in them. private: whether one of them may
            not leave the house. evaluated: data sets that it was measured against. samples: its released grid as PNG.
    """

    name: str
    about: str
    audit: Audit
    dataset: str | None
    seconds: float | None
    measures: tuple[Row, ...]
    departures: tuple[str, ...]
    private: bool
    evaluated: tuple[str, ...]
    samples: bytes | None

    @property
    def without_privacy(self) -> bool:
        """Whether it promises nothing at all."""
        return self.audit.state is not None and self.audit.state.budget.epsilon > LARGEST_PROMISE


def compared(folders: Sequence[Path]) -> tuple[ComparedRun, ...]:
    """Read and audit the runs.

    Raises:
        RunError: there are fewer than two, or an evaluation is damaged. LedgerError: one is no run.
    """
    if len(folders) < 2:
        raise RunError("A comparison is of two runs or more; name another.")
    last = [folder.resolve().name for folder in folders]
    names = [name if last.count(name) == 1 else str(folder) for name, folder in zip(last, folders, strict=True)]
    return tuple(_read(folder, name) for folder, name in zip(folders, names, strict=True))


def _read(folder: Path, name: str) -> ComparedRun:
    audit = audit_run(folder)
    found = _evaluations(folder)
    grid = sample_grid(audit, folder)
    plan = None if audit.state is None else audit.state.plan
    return ComparedRun(
        name=plain(name),
        about=_NOTHING if plan is None else _about(plan.method, plan.feedback, warm=plan.warm_start is not None),
        audit=audit,
        dataset=None if plan is None else plan.dataset,
        seconds=RunFolder(folder).processor_seconds(),
        measures=tuple(row for result in found for row in rows(result)),
        departures=tuple(dict.fromkeys(text for result in found if (text := departures(result)))),
        private=any(result["private"] for result in found),
        evaluated=tuple(dict.fromkeys(str(result["dataset"]) for result in found)),
        samples=None if grid is None else grid.png,
    )


def _about(method: str, feedback: Feedback, *, warm: bool) -> str:
    return f"{method}, feedback {feedback.value}, {'with' if warm else 'no'} warm start"


def _evaluations(folder: Path) -> list[Any]:
    """What `privgen evaluate` kept in the run, private or released; one of the same protocol counts once."""
    places = [folder / "private" / "results", release_of(folder)]
    found: dict[str, Any] = {}
    for path in (path for place in places for path in sorted(place.glob("evaluation*.json"))):
        try:
            result = json.loads(path.read_bytes())
            list(rows(result))
            found.setdefault(result["protocol"], result)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is no result of privgen evaluate ({error}); evaluate the run again.") from error
    return list(found.values())


def differences(runs: Sequence[ComparedRun]) -> tuple[str, ...]:
    """Why the runs are not comparable; empty where they are."""
    reasons = []
    budgets = [run.audit.state.budget for run in runs if run.audit.state is not None]
    for what, values in (
        ("data sets", [run.dataset or "none stated" for run in runs]),
        ("δ", [exact_text(budget.delta) for budget in budgets]),
        ("adjacencies", [budget.neighbouring.value for budget in budgets]),
        ("data that they were measured against", [name for run in runs for name in run.evaluated]),
    ):
        if len(different := list(dict.fromkeys(values))) > 1:
            reasons.append(f"different {what}: {', '.join(map(plain, different))}")
    return tuple(reasons)


def comparison_report(runs: Sequence[ComparedRun]) -> Report:
    """The comparison, in the same form as an audit's report."""
    reasons, bare = differences(runs), [run.name for run in runs if run.without_privacy]
    broken = [run.name for run in runs if run.audit.verdict == "failed" and not run.without_privacy]
    tone = "failed" if broken else "incomplete" if reasons or bare else HOLDS
    headline = "NOT COMPARABLE" if reasons else f"{len(runs)} runs side by side"
    said = [f"These runs have {'; '.join(reasons)}. Their figures are not to be held against each other."] * bool(
        reasons
    )
    said += [f"{NO_PRIVACY}: {', '.join(bare)}. It protects nobody, and is a ceiling for the others."] * bool(bare)
    said += [f"Do not rely on {', '.join(broken)}: its audit failed."] * bool(broken)
    said += ["Every ε was recomputed from the run's ledger."]
    sections = [
        Section(key="cost", title="What they cost", blocks=(_costs(runs),)),
        Section(key="measures", title="How good they are", blocks=_measures(runs)),
        # Where a page shows the samples; named as in an audit's report.
        Section(key="assumptions", title="How to read it", blocks=tuple(Paragraph(text=text) for text in _notes(runs))),
    ]
    return Report(
        title=f"Comparison of {', '.join(run.name for run in runs)}",
        tone=tone,
        headline=headline,
        summary=" ".join(said),
        figures=(),
        sections=tuple(sections),
    )


def _costs(runs: Sequence[ComparedRun]) -> Table:
    """One row a run: they may be many, and a page is read downwards."""
    head = ("run", "what it is", "audit", "ε certified", "ε promised", "ε claimed, no bound", "at δ", "seconds")
    return Table(caption="What they cost", head=head, rows=tuple(_cost(run) for run in runs), headed=True)


def _cost(run: ComparedRun) -> tuple[str, ...]:
    audit, state = run.audit, run.audit.state
    seconds = _NOTHING if run.seconds is None else f"{run.seconds:.0f}"
    if state is None or audit.guarantee is None:
        return run.name, run.about, "FAILED", *(_NOTHING,) * 4, seconds
    verdict = NO_PRIVACY if run.without_privacy else "FAILED" if tone_of(audit) == "failed" else audit.verdict
    return (
        run.name,
        run.about,
        verdict,
        "none" if run.without_privacy else f"≤ {upper_text(audit.guarantee.epsilon)}",
        "none" if run.without_privacy else exact_text(state.budget.epsilon),
        _NOTHING if audit.claimed is None else upper_text(audit.claimed),
        exact_text(state.budget.delta),
        seconds,
    )


def _measures(runs: Sequence[ComparedRun]) -> tuple[Table | Paragraph, ...]:
    """A column for each measure that any run has, by which protocol; and what an asterisk means."""
    columns = list(dict.fromkeys((row.measure, row.protocol) for run in runs for row in run.measures))
    if not columns:
        return (Paragraph(text="None of these runs was evaluated: privgen evaluate RUN."),)
    values = [{(row.measure, row.protocol): row.value for row in run.measures} for run in runs]
    table = Table(
        caption="Measures, each by its protocol",
        head=("run", *(f"{measure} ({protocol})" for measure, protocol in columns)),
        rows=tuple(
            (run.name, *(own.get(column, _NOTHING) for column in columns))
            for run, own in zip(runs, values, strict=True)
        ),
        headed=True,
    )
    marked = dict.fromkeys(text for run in runs for text in run.departures)
    return table, *(Paragraph(text=plain(text)) for text in marked)


def _notes(runs: Sequence[ComparedRun]) -> tuple[str, ...]:
    notes = [
        "ε certified is the audit's, and holds; ε claimed is what a published analysis would say of the same steps, "
        "where there is one. Seconds are of a processor, for all of a run's training; evaluation is not in them.",
        "Measures of different protocols, or with an asterisk, stand in columns of their own and are not to be mixed. "
        "One run is one draw of noise and weights: a difference counts where it is beyond what seeds scatter.",
    ]
    if any(run.private for run in runs):
        notes.append("Measures were computed from real images without differential privacy. Private: do not publish.")
    return tuple(notes)


def comparison_json(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """The comparison for programs; an ε that does not hold, or is not there, is null."""
    reasons = differences(runs)
    return {"schema": SCHEMA, "comparable": not reasons, "reasons": list(reasons), "runs": [_as_json(r) for r in runs]}


def _as_json(run: ComparedRun) -> dict[str, Any]:
    audit, state = run.audit, run.audit.state
    held = audit.guarantee is not None and not run.without_privacy and audit.verdict != "failed"
    return {
        "name": run.name,
        "about": run.about,
        "dataset": run.dataset,
        "verdict": audit.verdict,
        "without_privacy": run.without_privacy,
        "epsilon_certified": audit.guarantee.epsilon if held and audit.guarantee is not None else None,
        "epsilon_promised": None if state is None or run.without_privacy else state.budget.epsilon,
        "epsilon_claimed": audit.claimed,
        "delta": None if state is None else state.budget.delta,
        "seconds": run.seconds,
        "measures": [
            {"measure": row.measure, "value": row.value, "how": row.how, "protocol": row.protocol}
            for row in run.measures
        ],
        "private": run.private,
    }
