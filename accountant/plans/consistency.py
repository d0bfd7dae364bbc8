"""What must agree within a plan: its feedback, its phases, and the noise of its parts with the plan's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accountant.errors import PlanError
from accountant.events import joint_noise_multiplier
from accountant.plans.exact_release import LARGEST_SUM, joint_covers
from accountant.plans.parts import GRADIENTS, Feedback

if TYPE_CHECKING:
    from accountant.plans.plan import Plan


def require_consistent(plan: Plan) -> None:
    """Raise PlanError where two values of a plan contradict each other."""
    _require_one_name(plan)
    _require_consistent_feedback(plan)
    _require_consistent_phases(plan)
    _require_consistent_parts(plan)


def _require_one_name(plan: Plan) -> None:
    if plan.public_facts is not None and plan.public_facts.name != plan.dataset:
        raise PlanError(
            f"The plan is for data set {plan.dataset} and states public facts of {plan.public_facts.name}; plan again "
            "with one name."
        )


def _require_consistent_feedback(plan: Plan) -> None:
    if plan.feedback is not Feedback.BANDED and plan.bands != 1:
        raise PlanError(f"Expected bands=1 with feedback {plan.feedback.value}, got bands={plan.bands}.")
    for part in plan.parts:
        if part.residual_clip_norm and (plan.feedback is not Feedback.BANDED or plan.bands == 1):
            raise PlanError(
                f"Part {part.name} has residual_clip_norm={part.residual_clip_norm}, which only banded "
                "feedback with at least two bands pays back; set it to 0 or plan with --bands 2."
            )
        if part.feedback_clip_norm and plan.feedback is not Feedback.PAPER:
            raise PlanError(f"Part {part.name} has a feedback_clip_norm, which only --feedback paper uses.")


def _require_consistent_phases(plan: Plan) -> None:
    if not plan.phases:
        return
    if any(phase.releases != GRADIENTS for phase in plan.phases):
        raise PlanError("Expected the phases to release gradients; statistics belong to warm_start.")
    first = plan.phases[0]
    total = sum(phase.iterations for phase in plan.phases)
    given = (plan.sampling_rate, plan.noise_multiplier, plan.iterations)
    if len(plan.phases) < 2 or given != (first.sampling_rate, first.noise_multiplier, total):
        raise PlanError(
            f"Expected at least two phases whose first has sampling_rate={plan.sampling_rate!r} and "
            f"noise_multiplier={plan.noise_multiplier!r} and whose iterations sum to {plan.iterations}."
        )


def _require_consistent_parts(plan: Plan) -> None:
    names = [part.name for part in plan.parts]
    if not names or len(set(names)) != len(names):
        raise PlanError(f"Expected one part or more, each name once, got {names}.")
    if not joint_covers((part.noise_multiplier for part in plan.parts), plan.noise_multiplier):
        joint = joint_noise_multiplier(*(part.noise_multiplier for part in plan.parts))
        raise PlanError(
            f"The parts' joint noise multiplier is {joint!r}, less than the plan's "
            f"{plan.noise_multiplier!r}: the run would be charged for more noise than it adds."
        )
    for part in plan.parts:
        batch = max(phase.sampling_rate for phase in plan.schedule()) * plan.dataset_size
        longest = max(part.clip_norm, part.residual_clip_norm) * plan.dataset_size
        if max(longest, part.feedback_clip_norm * batch) >= LARGEST_SUM * part.step:
            raise PlanError(
                f"Part {part.name}: sums over {plan.dataset_size} records in steps of {part.step!r} may pass 2^52, "
                "where they are no longer exact; lower the clip norms' ratio R/C1 or C2, or raise grid_step."
            )
