"""What `privgen baseline NAME` trains: a plan for the budget, a method, and its settings; one entry a rival.

    recipe = BASELINES["dp-gan"]
    plan = recipe.plan(wanted)                 # solved for ε, but for the ceiling, which has none
    settings = recipe.settings(plan, wanted)

A rival is a method behind `privgen.training.method`, begun by `privgen.training.begin`: there is no other loop, guard
or release for it (docs/decisions/baselines.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from accountant.budget import Neighbouring
from accountant.plans.parts import Feedback
from accountant.plans.plan import Plan
from accountant.plans.planned_method import GAN, PlannedMethod
from accountant.plans.public_facts import PublicFacts
from planners import PlanRequest, plan_of
from privgen.catalogue import method_named
from privgen.experiments.baselines.without_privacy import without_privacy

if TYPE_CHECKING:
    from privgen.config import RunSettings

# A form of each that ends in seconds: it shows that the way is open, and nothing about the rival.
QUICK_STEPS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What was asked for.

    Args:
        epsilon, delta: the budget; δ may be None. dataset, size, facts: public, as a plan states them.
        quick: a form that ends in seconds. seed: of what is initialised.
    """

    epsilon: float
    delta: float | None
    dataset: str | None
    size: int | None
    facts: PublicFacts | None
    quick: bool = False
    seed: int = 0

    def request(self, method: PlannedMethod, **asked: Any) -> PlanRequest:
        """A request for a plan of this budget and these data, by the tighter bound."""
        return PlanRequest(
            epsilon=self.epsilon,
            delta=self.delta,
            dataset=self.dataset,
            dataset_size=self.size,
            public_facts=self.facts,
            method=method,
            neighbouring=Neighbouring.ADD_OR_REMOVE_ONE,
            **{"accountant": "rdp" if self.quick else "prv", **asked},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A rival.

    Args:
        summary: for people. method: its name in `privgen.catalogue`.
        plan: what it may cost. changes: settings that differ from the method's defaults, for a plan.
    """

    summary: str
    method: str
    plan: Callable[[Wanted], Plan]
    changes: Callable[[Plan], dict[str, Any]] = lambda plan: {}

    def settings(self, plan: Plan, wanted: Wanted) -> RunSettings:
        """The method's default settings, with the recipe's changes."""
        method = method_named(self.method)
        values = method.default_settings(plan.dataset_size, warm_start=plan.warm_start is not None).to_json()
        values |= self.changes(plan) | {"seed": wanted.seed}
        if wanted.quick:
            values |= {name: small for name, small in _SMALL.items() if name in values}
        return method.settings_from_json(values)


_SMALL = {"preset": "tiny", "features": 64, "generator_updates": 8}


def _dp_gan(wanted: Wanted) -> Plan:
    """DP-SGD of the critic alone."""
    steps = {"iterations": QUICK_STEPS} if wanted.quick else {}
    return plan_of(wanted.request(GAN, feedback=Feedback.NONE, shares={"critic": 1.0}, warm_start=0.0, **steps))


def _ceiling(wanted: Wanted) -> Plan:
    """Steps and batches of our own recipe with a warm start, and neither noise nor clipping."""
    steps = {"iterations": QUICK_STEPS} if wanted.quick else {}
    ours = plan_of(
        wanted.request(GAN, feedback=Feedback.NONE, shares={"critic": 1.0}, warm_start=0.8, accountant="rdp", **steps)
    )
    return without_privacy(replace(ours, method="privacy_free"))


_DP_MERF = PlannedMethod(name="dp_merf", shares={"embedding": 1.0}, essential_reason="nothing else is released")


def _dp_merf(wanted: Wanted) -> Plan:
    """One release that every record is in."""
    return plan_of(
        wanted.request(_DP_MERF, feedback=Feedback.NONE, sampling_rate=1.0, iterations=1, clip_norm=1.0, warm_start=0.0)
    )


_GS_WGAN = PlannedMethod(name="gs_wgan", shares={"pixels": 1.0}, essential_reason="nothing else is released")
# C√n with the published C = 1 and n = 32, and twice that for what another record can move (privgen.methods.gs_wgan).
_SHARE_MOVES = 11.32
_SHARE, _TURNS = 100, 4


def _gs_wgan(wanted: Wanted) -> Plan:
    """Shares of some hundred records, each asked four times: the draws are known, so nothing is amplified."""
    shares = max(2, (wanted.size or 0) // _SHARE)
    return plan_of(
        wanted.request(
            _GS_WGAN, feedback=Feedback.BANDED, bands=shares, sampling_rate=1 / shares, residual_ratio=0.0,
            iterations=shares * (1 if wanted.quick else _TURNS), clip_norm=_SHARE_MOVES, warm_start=0.0,
        )
    )  # fmt: skip


_DP_CLASSIFIER = PlannedMethod(name="dp_classifier", shares={"classifier": 1.0}, between_classes=("classifier",))


def _dp_classifier(wanted: Wanted) -> Plan:
    """DP-SGD of a classifier."""
    steps = {"iterations": QUICK_STEPS} if wanted.quick else {}
    return plan_of(wanted.request(_DP_CLASSIFIER, feedback=Feedback.NONE, warm_start=0.0, **steps))


BASELINES: dict[str, Baseline] = {
    "dp-gan": Baseline(
        summary="our networks, the critic by DP-SGD: no feedback, no warm start, no private classifier",
        method="gan",
        plan=_dp_gan,
        changes=lambda plan: {"class_weight": 0.0},
    ),
    "dp-classifier": Baseline(
        summary="a classifier by DP-SGD on the real records: the accuracy that one gets without generating",
        method="dp_classifier",
        plan=_dp_classifier,
    ),
    "gs-wgan": Baseline(
        summary="sanitised gradients of generated images, charged as what they are: it may learn nothing",
        method="gs_wgan",
        plan=_gs_wgan,
    ),
    "privacy-free": Baseline(
        summary="WITHOUT PRIVACY: our recipe without noise and clipping, the ceiling; its images are not given away",
        method="privacy_free",
        plan=_ceiling,
    ),
    "dp-merf": Baseline(
        summary="class means of random features, released once; a generator learns to match them for free",
        method="dp_merf",
        plan=_dp_merf,
    ),
}
