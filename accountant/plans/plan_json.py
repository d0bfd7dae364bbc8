"""The form of a plan's file. What came later is omitted where there is none, so that older plans keep their digest."""

from __future__ import annotations

from typing import TypedDict

from accountant.plans.caps import CapJson
from accountant.plans.parts import PartJson, PhaseJson, VerifiedJson
from accountant.plans.public_facts import PublicFactsJson
from accountant.plans.warm_start import WarmStartJson


class _Always(TypedDict):
    schema: str
    epsilon: float
    delta: float
    neighbouring: str
    dataset: str | None
    dataset_size: int
    feedback: str
    bands: int
    sampling_rate: float
    iterations: int
    phases: list[PhaseJson]
    noise_multiplier: float
    parts: list[PartJson]
    accountant: str
    verified: VerifiedJson | None
    defaults: dict[str, str]


class PlanJson(_Always, total=False):
    """A plan as JSON. What came later may be missing from a file.

    `risk` is what `privgen plan --json` says beside the plan: computed from it, and never read back.
    """

    spare_blocks: int
    caps: list[CapJson]
    method: str
    preset: str
    warm_start: WarmStartJson
    public_facts: PublicFactsJson
    risk: object
