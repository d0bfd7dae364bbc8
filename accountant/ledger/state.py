"""`LedgerState`: what a ledger says, as a value: segments that were charged, checkpoints, releases, how it ended.

`accountant.ledger.replay` reads it from the entries, one after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from accountant.budget import Budget
from accountant.composition.segments import Composition
from accountant.events import Event
from accountant.json_reader import JsonObject
from accountant.plans.caps import Caps, blocks_of
from accountant.plans.plan import Plan

# Written after the halt, of what it says: the one thing that an entry may name behind it.
REPORTS = ("report.md", "report.html")


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive steps of one event, starting with nothing owed.

    Args:
        event: what each step releases.
        committed: steps that a commit counted.
        reserved: steps charged: `committed` and whatever was reserved after it.
        phase: of the plan, from 0; one past its last for an extension; 0 without a plan.
    """

    event: Event
    committed: int
    reserved: int
    phase: int = field(default=0, repr=False)


def charged(segments: Iterable[Segment]) -> Composition:
    """What these segments are charged for, to be composed; without those in which nothing was reserved."""
    return tuple((segment.event, segment.reserved) for segment in segments if segment.reserved)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRecord:
    """A checkpoint as the ledger knows it.

    Args:
        name: its folder's name. seq: its entry. step: steps charged by then.
        weights_digest: SHA-256 of the weights that may leave the house, and of nothing else.
        held: charged steps that these weights hold; what crashes wasted is not among them.
    """

    name: str
    seq: int
    step: int
    weights_digest: str
    held: int


@dataclass(frozen=True, slots=True)
class CanaryRecord:
    """Canaries that a run was begun with.

    Args:
        count: how many, >= 1. digest: SHA-256 of the private file that holds them and their coins.
    """

    count: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerState:
    """What a ledger says.

    Args:
        budget: the promise.
        plan: the plan, where the run had one.
        genesis: all that the first entry says (noise, sampling, software versions, ...).
        segments: in order; each rounds its blocks up by itself.
        checkpoints: in order. releases: digests of released files, by name.
        resumes: number of resumes. crashes: how many of them were not clean.
        halted: the halt's reason, or None: the ledger is incomplete.
        extended: whether steps past the plan's last were asked for.
        entries: how many there are. head: digest of the last.
        clean_head: the last entry is a checkpoint: a resume from it may be clean.
        resumed_with: kinds of noise that resumes name, in order.
        held: steps that the weights hold: of the checkpoint that was last resumed from, and committed since.
        reached: the same, with what is reserved and may run: it says which phase comes next.
        extra_blocks: that an extension adds beside the plan's caps.
        ranks: the most processes that trained together.
    """

    budget: Budget
    plan: Plan | None
    genesis: Mapping[str, object]
    segments: tuple[Segment, ...] = ()
    checkpoints: tuple[CheckpointRecord, ...] = ()
    releases: Mapping[str, str]
    resumes: int = 0
    crashes: int = 0
    halted: str | None = None
    extended: bool = False
    entries: int = 0
    head: str = ""
    clean_head: bool = False
    resumed_with: tuple[str, ...] = ()
    held: int = 0
    reached: int = 0
    extra_blocks: int = 0
    ranks: int = 1

    @property
    def caps(self) -> Caps | None:
        """How many blocks each phase may charge; None without a plan."""
        return None if self.plan is None else self.plan.caps(extra_blocks=self.extra_blocks)

    @property
    def canaries(self) -> CanaryRecord | None:
        """What was planted into the data for a one-run audit, or None."""
        named = JsonObject(self.genesis, "the genesis").optional_child("canaries")
        return None if named is None else CanaryRecord(named.integer("count"), named.text("digest"))

    @property
    def public_key(self) -> str | None:
        """Of who signed every entry, hexadecimal; None for a ledger that is not signed."""
        return JsonObject(self.genesis, "the genesis").optional_text("public_key")

    @property
    def steps_charged(self) -> int:
        """Steps that count as spent."""
        return sum(segment.reserved for segment in self.segments)

    @property
    def steps_done(self) -> int:
        """Steps that a commit counted."""
        return sum(segment.committed for segment in self.segments)

    @property
    def last_checkpoint(self) -> CheckpointRecord | None:
        """The newest checkpoint."""
        return self.checkpoints[-1] if self.checkpoints else None


def charged_blocks(segments: Sequence[Segment], caps: Caps) -> list[int]:
    """Blocks that each phase has charged; each segment rounds its own up."""
    charged = [0] * len(caps.phases)
    for segment in segments:
        charged[segment.phase] += blocks_of(segment.event, segment.reserved)
    return charged
