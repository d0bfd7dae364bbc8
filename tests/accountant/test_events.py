"""Events: one protocol that everybody asks, and an event from outside the tree that nobody has heard of."""

import ast
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from accountant import (
    BandedGaussian,
    Budget,
    BudgetExhausted,
    BudgetGuard,
    HiddenFeedbackGaussian,
    InvalidValue,
    Ledger,
    Neighbouring,
    PrvAccountant,
    RdpAccountant,
    SubsampledGaussian,
    event_from_json,
    event_to_json,
    verify_ledger,
)
from accountant.audit.audit import audit_run
from accountant.events import register_event
from accountant.ledger.genesis import genesis_budget
from accountant.mixtures import AT_ZERO, Mixture, MixturePair

ROOT = Path(__file__).parents[2]
ADD = Neighbouring.ADD_OR_REMOVE_ONE
PLAIN = SubsampledGaussian(sampling_rate=0.1, noise_multiplier=2.0)
BANDED = BandedGaussian(sampling_rate=0.05, noise_multiplier=2.0, bands=4)
PUBLISHED = HiddenFeedbackGaussian(sampling_rate=0.1, noise_multiplier=2.0, feedback_ratio=0.5)


@register_event
@dataclass(frozen=True, kw_only=True, slots=True)
class EchoedGaussian:
    """A mechanism of somebody else's: a draw is released, and released again (halved) in the step after it.

    What a record adds to both is a vector of norm √(1 + 1/4), drawn at once: one subsampled Gaussian of that
    sensitivity, every second step.
    """

    kind: ClassVar[str] = "echoed-gaussian"

    sampling_rate: float
    noise_multiplier: float
    label: str

    @property
    def bands(self) -> int:
        return 2

    @property
    def feedback_ratio(self) -> None:
        return None

    def charges(self, steps: int, *, group_size: int = 1) -> int:
        return -(-steps // 2)

    def dominating_pair(self, neighbouring: Neighbouring, group_size: int = 1) -> MixturePair:
        q = 2 * self.sampling_rate
        drawn = Mixture(((1 - q, 0.0), (q, math.sqrt(1.25))))
        other = drawn.mirrored() if neighbouring is Neighbouring.REPLACE_ONE else AT_ZERO
        return MixturePair(p=drawn, q=other, sigma=self.noise_multiplier)

    def claimed(self) -> None:
        return None

    def describe(self) -> str:
        return "each draw is released twice, the second time at half its length"


ECHO = EchoedGaussian(sampling_rate=0.05, noise_multiplier=2.0, label="ours")
# The same cost by a known event: the same draw at a sensitivity of 1.
SAME = SubsampledGaussian(sampling_rate=0.1, noise_multiplier=2.0 / math.sqrt(1.25))
EVERY = pytest.mark.parametrize("event", [PLAIN, BANDED, PUBLISHED, ECHO], ids=lambda event: event.kind)


@EVERY
def test_every_event_answers_the_whole_protocol(event):
    assert 0 < event.sampling_rate <= 1 and event.noise_multiplier > 0 and event.bands >= 1
    assert event.charges(0) == 0 and event.charges(1) == 1
    assert event.charges(event.bands) == 1 < event.charges(event.bands + 1)
    assert event.describe() and event.describe()[0].islower()
    for neighbouring in Neighbouring:
        assert event.dominating_pair(neighbouring).sigma > 0


@EVERY
def test_every_event_comes_back_equal_from_json(event):
    assert event_from_json(event_to_json(event)) == event


def test_only_the_published_feedback_has_a_ratio_and_a_claim():
    assert PUBLISHED.feedback_ratio == 0.5
    assert PUBLISHED.claimed() == SubsampledGaussian(sampling_rate=0.1, noise_multiplier=2.0 / math.sqrt(1.5))
    for event in (PLAIN, BANDED, ECHO):
        assert event.feedback_ratio is None and event.claimed() is None


@pytest.mark.parametrize("kind", [RdpAccountant, PrvAccountant])
def test_an_event_from_outside_costs_what_its_pair_says(kind):
    outside = kind().compose(ECHO, 1999).get_epsilon(1e-5)
    assert outside == pytest.approx(kind().compose(SAME, 1000).get_epsilon(1e-5), rel=1e-3)
    assert kind().compose(ECHO, 2001).get_epsilon(1e-5) > outside


def test_an_event_from_outside_is_guarded_written_replayed_and_audited(tmp_path):
    budget = Budget(epsilon=2.0, delta=1e-5)
    ledger = Ledger.create(tmp_path / "ledger.jsonl")
    ledger.append("genesis", {"budget": genesis_budget(budget)})
    guard = BudgetGuard(budget, ledger=ledger, block=16)
    with ledger:
        with pytest.raises(BudgetExhausted):
            while True:
                guard.admit(ECHO).redeem(ECHO)
        guard.halt("budget reached")
    steps = guard.steps
    assert RdpAccountant().compose(ECHO, steps).get_epsilon(1e-5) <= 2.0
    assert RdpAccountant().compose(ECHO, steps + 1).get_epsilon(1e-5) > 2.0

    state = verify_ledger(tmp_path / "ledger.jsonl")
    assert [(segment.event, segment.reserved) for segment in state.segments] == [(ECHO, steps)]
    audit = audit_run(tmp_path)
    assert audit.spent is not None and audit.verdict == "passed"
    assert audit.spent.rdp == RdpAccountant().compose(ECHO, steps).get_epsilon(1e-5)
    assert audit.spent.prv is not None and audit.spent.prv.upper <= audit.spent.rdp


def test_an_event_that_is_not_registered_is_refused_everywhere():
    @dataclass(frozen=True, kw_only=True)
    class Unknown:
        kind: ClassVar[str] = "subsampled-gaussian"
        sampling_rate: float = 0.1
        noise_multiplier: float = 1e6

    for use in (RdpAccountant().compose, PrvAccountant().compose, event_to_json):
        with pytest.raises(InvalidValue, match="register_event"):
            use(Unknown())
    with pytest.raises(InvalidValue, match="register_event"):
        BudgetGuard(Budget(epsilon=1.0, delta=1e-5)).admit(Unknown())


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.0000001, math.inf, math.nan, "0.1", None])
def test_a_sampling_rate_is_a_probability_above_zero(rate):
    for make in (
        lambda: SubsampledGaussian(sampling_rate=rate, noise_multiplier=1.0),
        lambda: BandedGaussian(sampling_rate=rate, noise_multiplier=1.0, bands=1),
        lambda: HiddenFeedbackGaussian(sampling_rate=rate, noise_multiplier=1.0, feedback_ratio=0.0),
    ):
        with pytest.raises(InvalidValue, match="sampling_rate"):
            make()


@pytest.mark.parametrize("noise", [0.0, -1.0, math.inf, math.nan, "1", None])
def test_a_noise_multiplier_is_finite_and_above_zero(noise):
    for make in (
        lambda: SubsampledGaussian(sampling_rate=0.1, noise_multiplier=noise),
        lambda: BandedGaussian(sampling_rate=0.1, noise_multiplier=noise, bands=1),
        lambda: HiddenFeedbackGaussian(sampling_rate=0.1, noise_multiplier=noise, feedback_ratio=0.0),
    ):
        with pytest.raises(InvalidValue, match="noise_multiplier"):
            make()


@pytest.mark.parametrize("bands", [0, -1, 1.5, True, None])
def test_bands_are_a_count_of_at_least_one(bands):
    with pytest.raises(InvalidValue, match="bands"):
        BandedGaussian(sampling_rate=0.1, noise_multiplier=1.0, bands=bands)


def test_bands_times_the_rate_is_a_probability():
    assert BandedGaussian(sampling_rate=0.25, noise_multiplier=1.0, bands=4).per_block.sampling_rate == 1.0
    with pytest.raises(InvalidValue, match="bands"):
        BandedGaussian(sampling_rate=0.2500001, noise_multiplier=1.0, bands=4)


@pytest.mark.parametrize("ratio", [-1e-9, math.inf, math.nan, "0", None])
def test_a_feedback_ratio_is_finite_and_not_negative(ratio):
    with pytest.raises(InvalidValue, match="feedback_ratio"):
        HiddenFeedbackGaussian(sampling_rate=0.1, noise_multiplier=1.0, feedback_ratio=ratio)


def test_a_kind_is_taken_once_and_an_event_is_frozen():
    with pytest.raises(InvalidValue, match="another kind"):
        register_event(EchoedGaussian)

    @dataclass
    class Thawed:
        kind: ClassVar[str] = "thawed"

    with pytest.raises(InvalidValue, match="frozen"):
        register_event(Thawed)


@pytest.mark.parametrize(
    ("p", "q", "sigma"),
    [
        (((1.0, 0.0),), ((1.0, 1.0),), 1.0),
        (((0.5, 0.0), (0.4, 1.0)), ((1.0, 0.0),), 1.0),
        (((1.5, 1.0), (-0.5, 2.0)), ((1.0, 0.0),), 1.0),
        (((1.0, 1.0),), ((1.0, 0.0),), 0.0),
    ],
)
def test_a_pair_for_which_no_bound_would_hold_cannot_be_made(p, q, sigma):
    with pytest.raises(InvalidValue):
        MixturePair(p=Mixture(p), q=Mixture(q), sigma=sigma)


def _asked_for_its_class(tree: ast.AST) -> list[str]:
    """Names of events in isinstance, in `type(...) is`, and in match patterns."""
    classes = {"SubsampledGaussian", "BandedGaussian", "HiddenFeedbackGaussian", "Event"}
    found = []
    for node in ast.walk(tree):
        asked: list[ast.AST] = []
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in {"isinstance", "issubclass", "hasattr"}:
            asked = list(node.args[1:])
        elif isinstance(node, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            asked = list(node.comparators)
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        names = (inner for part in asked for inner in ast.walk(part))
        found += [name.id for name in names if isinstance(name, ast.Name) and name.id in classes]
    return found


def test_nobody_asks_an_event_for_its_class():
    asked = {}
    for package in ("accountant", "planners", "privgen"):
        for path in (ROOT / package).rglob("*.py"):
            if path != ROOT / "accountant" / "events.py" and (
                names := _asked_for_its_class(ast.parse(path.read_text()))
            ):
                asked[str(path.relative_to(ROOT))] = names
    assert asked == {}
    assert _asked_for_its_class(ast.parse("isinstance(event, int | BandedGaussian)")) == ["BandedGaussian"]
