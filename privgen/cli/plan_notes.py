"""What is said beside a plan: noise saved and delay, what PRV buys, what the published feedback costs.

Each sentence is computed with the solvers when a person looks at the plan; none is part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accountant.plans.plan import Plan
    from planners import Affordable, PhaseShape


def notes(made: Plan, phases: Sequence[PhaseShape]) -> list[tuple[str, str, str]]:
    """(name, value, reason) of what a table of this plan says besides its own values.

    Args:
        phases: the shape that it was solved for.
    """
    from accountant.plans.parts import Feedback

    if made.feedback is Feedback.PAPER:
        return [("claimed", made.defaults["claimed"], "")]
    return _saved_and_delayed(made, phases) if made.bands > 1 else []


def _saved_and_delayed(made: Plan, phases: Sequence[PhaseShape]) -> list[tuple[str, str, str]]:
    from planners import noise_saved
    from planners.delay import mean_delay

    part = made.parts[0]
    ratio = part.residual_clip_norm / part.clip_norm
    delay = mean_delay(made.bands, ratio)
    rows = [
        ("delay", f"{delay:.2g} steps on average", f"R/C1 = {ratio:g}; what is clipped away: {made.bands / 2:g} steps")
    ]
    spent = made.verified.rdp if made.verified is not None else 0.0
    # A plan that spends nothing by RDP has nothing to be compared at.
    if spent > 0:
        times = _noise_at(made, phases, epsilon=spent, bands=1) / made.noise_multiplier
        saved = noise_saved(times, bands=made.bands, residual_ratio=ratio)
        text = f"{saved:.0%} of DP-SGD's with the same total clip norm"
        rows.insert(0, ("noise saved", text, "by RDP, at the same ε and steps"))
    return rows


def affordable_rows(made: Plan, phases: Sequence[PhaseShape]) -> tuple[Affordable, ...]:
    """What C2 this certified budget could afford at more noise, for the published feedback; by RDP."""
    from planners import affordable

    base = made.sampling_rate / phases[0].rate
    return affordable(
        epsilon=made.epsilon,
        delta=made.delta,
        sampling_rate=base,
        iterations=made.iterations,
        batch_size=base * made.dataset_size,
        clip_norm=made.parts[0].clip_norm,
        neighbouring=made.neighbouring,
        phases=phases,
        before=made.warm_events(),
    )


def saving(made: Plan, phases: Sequence[PhaseShape]) -> str:
    """What PRV bought over RDP, in one sentence."""
    # ρ at the plan's sampling rate, of which the first phase has a multiple.
    ratio = (made.event_of(made.schedule()[0]).feedback_ratio or 0.0) / phases[0].rate
    by_rdp = _noise_at(made, phases, epsilon=made.epsilon, bands=made.bands, feedback_ratio=ratio)
    saved = 1 - made.noise_multiplier / by_rdp
    return f"PRV buys {saved:.1%} less noise than RDP, which would need {by_rdp:.4f}."


def _noise_at(
    made: Plan, phases: Sequence[PhaseShape], *, epsilon: float, bands: int, feedback_ratio: float = 0.0
) -> float:
    """The noise multiplier of the first phase that RDP asks for, with the plan's rate and steps."""
    from planners import solve_noise_multiplier

    found = solve_noise_multiplier(
        epsilon=epsilon,
        delta=made.delta,
        sampling_rate=made.sampling_rate / phases[0].rate,
        iterations=made.iterations,
        neighbouring=made.neighbouring,
        bands=bands,
        feedback_ratio=feedback_ratio,
        phases=phases,
        before=made.warm_events(),
    )
    return found * phases[0].noise
