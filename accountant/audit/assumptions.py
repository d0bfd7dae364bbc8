"""What the theorem needs of a run, each with how it is held: checked, by construction, or on trust.

"checked" is what this audit looked at itself; "by-construction" is what the published program cannot do otherwise;
"on-trust" is what no ledger can show.
"""

from __future__ import annotations

from dataclasses import dataclass

from accountant.ledger.replay import LedgerState
from accountant.plans.parts import Feedback

CHECKED, BY_CONSTRUCTION, ON_TRUST = "checked", "by-construction", "on-trust"

_COMMON = (
    ("one person is one record; N is public and so are all hyper-parameters", ON_TRUST),
    ("hyper-parameters were not chosen by looking at this data set, or their search was charged", ON_TRUST),
    ("each step draws one true Poisson batch; sums are divided by qN, never by the realised size", BY_CONSTRUCTION),
    (
        "each record adds an integer vector of its own, no longer than C1 in grid steps; a loss sees one record",
        BY_CONSTRUCTION,
    ),
    ("noise of the charged standard deviation, exact in floating point, is added once for a receipt", BY_CONSTRUCTION),
    ("every step was reserved in the ledger before it ran", BY_CONSTRUCTION),
)
_LAST = ("the program that ran is the published one, and only the release folder left the house", ON_TRUST)
_BANDED = (
    ("a record's group depends on its identity and a salt alone, so removing one moves no other", BY_CONSTRUCTION),
    ("nothing owed crosses a crash; a crash starts a new segment", CHECKED),
)
_WARM_START = (
    ("each record's statistics are clipped, and it enters one class and one cluster of them", BY_CONSTRUCTION),
)
_PAPER = (
    ("the fed-back error is clipped to C2; nothing is assumed of gradients or of how the error fades", BY_CONSTRUCTION),
)
_CANARIES = (
    ("canaries and the coins that let them in were drawn without a look at the data, so they change no record's charge",
     BY_CONSTRUCTION),
)  # fmt: skip
_SIGNED = ("the ledger is the one that the signer's training wrote", CHECKED)
_PRIVATE_FOLDER = (
    "the ledger is the one that training wrote, as far as who holds the private folder is believed",
    ON_TRUST,
)
_UNSIGNED = (
    "nobody rewrote the whole ledger: no key was compared (--public-key), and the private folder is not at hand",
    ON_TRUST,
)
# What an exact release takes on trust (docs/privacy.md, theorem 11).
_EXACT = (
    "the processor computes integers and IEEE 754 as specified, and its matrix products mix no rows beyond what the "
    "row check looks at",
    "AES is a pseudo-random function, the operating system's entropy is good, and nobody sees how long steps take",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumption:
    """One thing the theorem needs, and how it is held: "checked", "by-construction" or "on-trust"."""

    text: str
    held: str


def assumptions_of(
    state: LedgerState, *, signed: bool = False, private_folder_present: bool = False
) -> tuple[Assumption, ...]:
    """What the theorem needs for such a run, each with how it is held.

    Args:
        signed: every entry's signature was verified with a key known from elsewhere.
        private_folder_present: the ledger's end was compared with the run's private folder.
    """
    plan = state.plan
    planned = () if plan is None else (("the steps in the ledger are the plan's", CHECKED),)
    by_feedback = {Feedback.BANDED: _BANDED, Feedback.PAPER: _PAPER, Feedback.NONE: ()}
    extra = () if plan is None else by_feedback[plan.feedback]
    extra = extra if plan is None or plan.warm_start is None else (*_WARM_START, *extra)
    extra += _CANARIES if state.canaries is not None else ()
    written = _SIGNED if signed else _PRIVATE_FOLDER if private_folder_present else _UNSIGNED
    noise = tuple((text, ON_TRUST) for text in _EXACT)
    return tuple(
        Assumption(text=text, held=held) for text, held in (*_COMMON, *planned, *extra, written, *noise, _LAST)
    )
