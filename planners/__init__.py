"""The inverse of accounting: what to run for a budget, before any training.

>>> z = solve_noise_multiplier(epsilon=10.0, delta=1e-5, sampling_rate=256 / 60000, iterations=4000, bands=4)
>>> round(z, 2)
0.67
"""

from accountant.plans.plan import Plan
from planners.affordable_feedback import Affordable, affordable
from planners.delay import noise_saved
from planners.errors import ContradictoryRequest, ImpossiblePlan, PlannerError
from planners.joint_search import Choice, Search, StepCost, joint_search
from planners.planning import plan, plan_of
from planners.request import PlanRequest
from planners.schedule import PhaseShape
from planners.solvers import solve_feedback_ratio, solve_iterations, solve_noise_multiplier, solve_sampling_rate

__all__ = [
    "Affordable",
    "Choice",
    "ContradictoryRequest",
    "ImpossiblePlan",
    "PhaseShape",
    "Plan",
    "PlanRequest",
    "PlannerError",
    "Search",
    "StepCost",
    "affordable",
    "joint_search",
    "noise_saved",
    "plan",
    "plan_of",
    "solve_feedback_ratio",
    "solve_iterations",
    "solve_noise_multiplier",
    "solve_sampling_rate",
]
