"""`privgen evaluate` of a run that trained a classifier alone: its accuracy on the real test images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from privgen.cli.encoding import echo_json

if TYPE_CHECKING:
    from privgen.cli.evaluate import EvaluateOptions
    from privgen.metrics.result import EvaluationRecord, PlannedBudget

# Written out, because the module that defines it imports torch.
_METHOD = "dp_classifier"


def is_classifier(run: Path) -> bool:
    """Whether a run has released a classifier and nothing else."""
    try:
        about = json.loads((run / "release" / "model.json").read_bytes())
        return isinstance(about, dict) and about.get("method") == _METHOD
    except (OSError, ValueError):
        return False


def planned_budget(plan_path: Path) -> PlannedBudget | None:
    """What a plan promises; None where there is none."""
    from accountant.plans.plan import Plan

    if not plan_path.exists():
        return None
    plan = Plan.load(plan_path)
    return {"epsilon": plan.epsilon, "delta": plan.delta}


def evaluate_classifier(given: EvaluateOptions) -> EvaluationRecord:
    """Measure the classifier, keep the result where an evaluation's is kept, and show it.

    Args:
        given: the command's options; of a classifier there is one measure, whatever else they ask for.

    Raises:
        RunError: its files are damaged. DataError: the data are not there.
    """
    import numpy as np

    from accountant.files import write_durably
    from privgen.cli.console import console
    from privgen.cli.facts import planned_data
    from privgen.experiments.baselines.accuracy import accuracy_of
    from privgen.metrics.result import PRIVACY, SCHEMA
    from privgen.metrics.text import heading, note, rows
    from privgen.training.run_folder import RunFolder

    run = given["run"]
    folder = RunFolder.existing(run)
    data = planned_data(given["dataset"] or folder.source(), folder.known_plan(), given["data_dir"])
    found = accuracy_of(run, data.test)
    counts = np.bincount(data.test.labels)
    summary = {"mean": found, "std": 0.0, "values": [found], "chance": float(counts.max() / counts.sum())}
    result = cast(
        "EvaluationRecord",
        {
            "schema": SCHEMA,
            "protocol": "privgen-1",
            "deviations": [],
            "dataset": data.name,
            "samples": 0,
            "privacy": PRIVACY,
            "images": run.resolve().name,
            "plan": planned_budget(folder.plan),
            "private": True,
            "test_images": len(data.test.labels),
            "private_classifier": {"DP-SGD": summary},
        },
    )
    kept = folder.private / "results" / "evaluation.json"
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    write_durably(kept, (json.dumps(result, indent=2) + "\n").encode())
    if given["as_json"]:
        echo_json(result)
        return result
    console.print(heading(result), markup=False, soft_wrap=True)
    for row in rows(result):
        console.print(f"{row.measure}  {row.value}  {row.how}", markup=False, soft_wrap=True)
    console.print(note(result), markup=False, soft_wrap=True)
    console.print(f"Kept in {kept}.", markup=False, soft_wrap=True)
    return result
