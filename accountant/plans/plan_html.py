"""A plan as a notebook shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accountant.bound_text import exact_text, upper_text
from accountant.html_table import html_table

if TYPE_CHECKING:
    from accountant.plans.plan import Plan


def plan_html(plan: Plan) -> str:
    """Budget, what it verifiably spends, data, method, steps and noise, as a table."""
    spends = "not verified yet" if plan.verified is None else f"ε ≤ {upper_text(plan.verified.epsilon)}"
    rows = [
        ("budget", f"ε = {exact_text(plan.epsilon)}, δ = {exact_text(plan.delta)}, {plan.neighbouring.value}"),
        ("verified", spends),
        ("data", f"{plan.dataset or 'not stated'}, N = {plan.dataset_size}"),
        ("method", f"{plan.method}, feedback {plan.feedback.value}"),
        ("steps", f"{plan.iterations} of expected batch {plan.expected_batch_size:.6g}"),
        ("noise multiplier", f"{plan.noise_multiplier:.4f}"),
        ("parts", ", ".join(part.name for part in plan.parts)),
    ]
    return html_table("Plan", rows)
