"""`GanTrial`: one run of the GAN in an experiment, and `GanChoices`, from which an experiment makes its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypedDict, cast

from accountant.plans.plan import Plan
from accountant.plans.public_facts import PublicFacts
from planners import plan
from privgen.errors import ConfigError
from privgen.experiments.records import TrialForm
from privgen.methods.gan.settings import GanSettings, default_settings, warm_settings

DELTA = 1e-5
# Of ε, for a warm start, where a trial has one.
WARM_START = 0.8
# The whole tuple to the critic, as with a warm start by default: three times as many steps in the same time.
CRITIC_ALONE: Mapping[str, float] = {"critic": 1.0}
METRICS = ("gen2real", "fid", "is", "coverage")


@dataclass(frozen=True, kw_only=True, slots=True)
class GanChoices:
    """What is chosen of an experiment with GANs.

    Args:
        dataset: by name. epsilons: each > 0, certified at δ = 1e-5. seeds: of each variant, >= 1.
        iterations: T. batch_size: expected, B. samples: generated images that are measured, >= 100.
        metrics: of `privgen evaluate`; the LeNet of a data set is trained once. features: those of the distances, or
            None for the protocol's.
        only: names of the variants to train; () is all.
    """

    dataset: str = "digits"
    epsilons: tuple[float, ...] = (10.0,)
    seeds: int = 3
    iterations: int = 100
    batch_size: int = 48
    samples: int = 1000
    metrics: tuple[str, ...] = METRICS
    features: str | None = None
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = (self.seeds, self.iterations, self.batch_size)
        if not self.epsilons or min(self.epsilons) <= 0 or min(counts) < 1 or self.samples < 100:
            raise ConfigError(
                f"Expected epsilons={self.epsilons!r} > 0, seeds={self.seeds!r}, iterations={self.iterations!r} and "
                f"batch_size={self.batch_size!r} >= 1 and samples={self.samples!r} >= 100."
            )

    def trial(
        self,
        variant: str,
        *,
        epsilon: float,
        warm: bool = False,
        plan: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        **beside: Any,
    ) -> GanTrial:
        """A trial with tiny networks and seed 0, with these of its plan and settings changed.

        Args:
            warm: whether the plan has a warm start, of `WARM_START` where it says nothing else.
            beside: other fields of `GanTrial`.
        """
        base = (warm_settings if warm else default_settings)(0)
        chosen = {"generator_batch": self.batch_size, "preset": "tiny", **(settings or {})}
        own = {"iterations": self.iterations, "batch_size": self.batch_size, **(plan or {})}
        return GanTrial(
            variant=variant,
            epsilon=epsilon,
            plan={"warm_start": WARM_START if warm else 0.0, "spare_releases": 0} | own,
            settings=_settings_json(replace(base, **chosen)),
            samples=self.samples,
            features=self.features,
            **{"metrics": self.metrics, "dataset": self.dataset, **beside},
        )


# Short enough for a test; each experiment names its own few variants beside.
QUICK: Mapping[str, Any] = {
    "seeds": 1, "iterations": 4, "batch_size": 12, "samples": 100, "metrics": ("gen2real",),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class GanTrial:
    """The settings of one run. Equal trials are the same run, including noise and batches.

    Args:
        variant: what is special about it, for readers; unique in its experiment together with ε.
        dataset: by name. epsilon: > 0; the plan's. seed: of everything random.
        plan: what `planners.plan` is told beside. overrun: factors by which fields of the plan, iterations or
            sampling_rate, are raised after it was made, without asking what that costs: the guard will.
        settings: all of the GAN's, without the seed.
        samples, metrics, features: of the evaluation; no metrics, no evaluation.
        watched: by which names of `privgen.experiments.gan_trials.observers` the run is looked at, and after every
            how many steps.
    """

    variant: str
    dataset: str
    epsilon: float
    seed: int = 0
    plan: Mapping[str, Any]
    overrun: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any]
    samples: int
    metrics: tuple[str, ...]
    features: str | None = None
    watched: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 and self.seed >= 0):
            raise ConfigError(f"Expected epsilon={self.epsilon!r} > 0 and seed={self.seed!r} >= 0.")

    @property
    def iterations(self) -> int:
        """T."""
        return int(self.plan["iterations"] * self.overrun.get("iterations", 1))

    @property
    def warm(self) -> bool:
        """Whether its plan has a warm start."""
        return bool(self.plan["warm_start"])

    def with_seed(self, seed: int) -> GanTrial:
        """The same with another seed."""
        return replace(self, seed=seed)

    def gan_settings(self) -> GanSettings:
        """What the GAN is trained with."""
        return GanSettings.from_json({**self.settings, "seed": self.seed})

    def made_plan(self, *, dataset_size: int, facts: PublicFacts | None) -> Plan:
        """The plan, its noise solved for; then changed as `overrun` says.

        Raises:
            PlannerError: nothing keeps the budget with these values.
        """
        made = plan(
            epsilon=self.epsilon, delta=DELTA, dataset_size=dataset_size, public_facts=facts,
            dataset=None if facts is not None else self.dataset, **self.plan,
        )  # fmt: skip
        if not self.overrun:
            return made
        q = made.sampling_rate * self.overrun.get("sampling_rate", 1)
        return replace(made, verified=None, iterations=self.iterations, sampling_rate=min(1.0, q))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is its inverse."""
        return {**asdict(self), "metrics": list(self.metrics)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GanTrial:
        """The trial that `to_json` wrote.

        Raises:
            ConfigError: unknown or missing fields, or a value out of range.
        """
        if unknown := set(data) - {f.name for f in fields(cls)}:
            raise ConfigError(f"Unknown settings of a trial: {', '.join(sorted(unknown))}.")
        try:
            return cls(**{**data, "metrics": tuple(data["metrics"])})
        except (TypeError, KeyError) as error:
            raise ConfigError(f"The settings of a trial are inconsistent: {error}") from error


def _settings_json(settings: GanSettings) -> dict[str, Any]:
    return {name: value for name, value in settings.to_json().items() if name != "seed"}


class GanResult(TypedDict):
    """What `privgen.experiments.gan_trials.training` returns.

    `steps` that ran, `certified` ε of what the guard charged, by RDP; `outcome` says why it ended. `noise` has z of
    each part, `noise_length` z·√P of each, by which the noise of a step is longer than the sensitivity. `measures` at
    the end by name, `curves` of [step, value] by name. `seconds` are of the processor: of the run, and of a step of it.
    """

    steps: int
    outcome: str
    certified: float
    noise: dict[str, float]
    noise_length: dict[str, float]
    measures: dict[str, float]
    curves: dict[str, list[list[float]]]
    seconds: float
    step_seconds: float


def _checked(data: object) -> GanResult:
    if not isinstance(data, dict):
        raise TypeError(f"expected a JSON object as result, got {type(data).__name__}")
    if missing := GanResult.__required_keys__ - set(data):
        raise KeyError(", ".join(sorted(missing)))
    return cast(GanResult, data)


FORM: TrialForm[GanTrial] = TrialForm(
    schema="privgen.gan-trial/1", to_json=GanTrial.to_json, from_json=GanTrial.from_json, result=_checked
)
