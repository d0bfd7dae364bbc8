"""The inverse of accounting: what to run for a budget, before any training.

>>> z = solve_noise_multiplier(epsilon=10.0, delta=1e-5, sampling_rate=256 / 60000, iterations=4000, bands=4)
>>> round(z, 2)
0.67
"""

from accountant.plan import Plan
from planners.calibrate import solve_iterations, solve_noise_multiplier, solve_sampling_rate
from planners.errors import ContradictoryRequest, ImpossiblePlan, PlannerError
from planners.pareto import Choice, Search, StepCost, joint_search
from planners.planning import plan

__all__ = [
    "Choice",
    "ContradictoryRequest",
    "ImpossiblePlan",
    "Plan",
    "PlannerError",
    "Search",
    "StepCost",
    "joint_search",
    "plan",
    "solve_iterations",
    "solve_noise_multiplier",
    "solve_sampling_rate",
]
