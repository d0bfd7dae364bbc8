"""Joint planning from the command line: measure a step, search batch, steps and bands, plan what is recommended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from accountant.plans.plan import Plan
    from planners import PlanRequest, Search, StepCost


def step_cost(made: Plan) -> StepCost:
    """Seconds of a training step of this plan's parts on this machine; loads torch and reads no record."""
    import torch

    from planners import StepCost
    from privgen.catalogue import method_named
    from privgen.cli.console import err_console
    from privgen.training.method import RecordFacts
    from privgen.training.step_timing import measure_step

    facts = made.public_facts
    if facts is None:
        raise click.UsageError("To measure a step the shape of the images must be known; give --dataset.")
    height, width, channels = facts.shape
    method = method_named(made.method)
    settings = method.planned_settings(made)
    known = RecordFacts(shape=(channels, height, width), class_names=facts.classes)
    err_console.print("Measuring a training step on made-up images ...", markup=False)
    fixed, per_record = measure_step(made, method, known, settings, torch.device("cpu"))
    return StepCost(fixed=fixed, per_record=per_record)


def search_plan(
    request: PlanRequest,
    made: Plan,
    *,
    max_iterations: int | None,
    seconds: float | None,
    cost: StepCost | None,
) -> tuple[Plan, Search]:
    """The plan that a joint search recommends, and the search.

    Args:
        request: what was asked. made: the plan of the defaults, whose N, δ and feedback are used.
    """
    from accountant.plans.parts import Feedback
    from planners import joint_search, plan_of
    from planners.joint_search import BANDS

    for name in ("batch_size", "sampling_rate", "iterations", "noise_multiplier"):
        if getattr(request, name) is not None:
            option = name.replace("_", "-")
            raise click.UsageError(f"A search chooses batch, steps and noise; omit --{option}, or the limit.")
    free_bands = made.feedback is Feedback.BANDED and request.bands is None
    search = joint_search(
        epsilon=made.epsilon,
        delta=made.delta,
        dataset_size=made.dataset_size,
        bands=BANDS if free_bands else made.bands,
        residual_ratio=request.residual_ratio,
        feedback_ratio=request.feedback_ratio or made.event_of(made.schedule()[0]).feedback_ratio or 0.0,
        phases=request.phases,
        before=made.warm_events(),
        neighbouring=made.neighbouring,
        max_iterations=max_iterations,
        seconds=seconds,
        cost=cost,
    )
    best = search.recommended
    found = replace(request, batch_size=float(best.batch_size), iterations=best.iterations)
    reasons = {"sampling_rate": f"searched: {search.reason}", "iterations": "searched, with the batch"}
    if made.warm_start is None:
        # The search counted none.
        found = replace(found, warm_start=0.0)
        reasons |= {name: why for name, why in made.defaults.items() if name == "warm_start"}
    if free_bands:
        found = replace(found, bands=best.bands)
        reasons["bands"] = "searched: the best of the noise saved and the delay that it costs"
    if best.bands > 1 and request.residual_ratio is None:
        found = replace(found, residual_ratio=best.residual_ratio)
        reasons["residual_ratio"] = "searched, with the bands"
    chosen = plan_of(found)
    return replace(chosen, defaults={**chosen.defaults, **reasons}), search
