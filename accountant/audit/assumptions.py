"""What the theorem needs of a run, each with how it is held: checked, by construction, or on trust.

"checked" is what this audit looked at itself; "by-construction" is what the published program cannot do otherwise;
"on-trust" is what no ledger can show.
"""

from __future__ import annotations

from dataclasses import dataclass

from accountant.ledger.state import LedgerState
from accountant.ledger.writers import (
    DECLARED_INDEX,
    GIVEN,
    OWN_LOOP,
    PRIVGEN_LIBRARY,
    PRIVGEN_TRAINING,
    writer_of,
)
from accountant.plans.parts import Feedback

CHECKED, BY_CONSTRUCTION, ON_TRUST = "checked", "by-construction", "on-trust"

_COMMON = (
    (
        "one person is one record; N, the data set's name, its classes, the images' shape and all hyper-parameters are "
        "public, and who stated them may let anybody know them",
        ON_TRUST,
    ),
    ("hyper-parameters were not chosen by looking at this data set, or their search was charged", ON_TRUST),
    ("what other runs spent on the same records is not in this figure, unless an account adds it up", ON_TRUST),
    ("whoever stopped, resumed or extended the run had seen of it only what it releases", ON_TRUST),
)
_RESERVED = ("every step was reserved in the ledger before it ran", BY_CONSTRUCTION)
# What is enforced of a step differs with who wrote the ledger (`accountant.ledger.writers`).
_STEPS = {
    PRIVGEN_TRAINING: (
        ("each step draws one true Poisson batch; sums are divided by qN, never by the realised size", BY_CONSTRUCTION),
        (
            "each record adds an integer vector of its own, no longer than C1 in grid steps; a loss sees one record",
            BY_CONSTRUCTION,
        ),
        (
            "noise of the charged standard deviation, exact in floating point, is added once for a receipt",
            BY_CONSTRUCTION,
        ),
        _RESERVED,
    ),
    PRIVGEN_LIBRARY: (
        ("the library's step draws a true Poisson batch and divides sums by qN", BY_CONSTRUCTION),
        ("the library's step clips each record's own integer vector; a loss sees one record", BY_CONSTRUCTION),
        ("the library's step adds exact noise of the charged standard deviation, once for a receipt", BY_CONSTRUCTION),
        _RESERVED,
        ("a loss reads no record but the one that it is given, and keeps nothing between its calls", ON_TRUST),
        ("somebody's loop around these steps keeps, prints and trains nothing else that the records touch", ON_TRUST),
        ("what the data set gives for a record is a function of that record alone", ON_TRUST),
        (
            "the loss remembers nothing of records; optimiser and schedule see only what is released",
            ON_TRUST,
        ),
    ),
    OWN_LOOP: (
        (
            "a receipt was handed out only after its step was reserved in the ledger, and is redeemed once",
            BY_CONSTRUCTION,
        ),
        ("a loop of one's own asked for a receipt before every release, and released nothing without one", ON_TRUST),
        ("its batches are true Poisson draws at the charged rate, and its divisors are public", ON_TRUST),
        ("it clips each record's own contribution to what the noise is for, and no layer mixes records", ON_TRUST),
        ("its noise is Gaussian, of the charged standard deviation, also in its last bits", ON_TRUST),
    ),
}
# What a data set of one's own takes on trust of its records' identities.
_IDENTITIES = {
    GIVEN: "the identity that a column or a function gives is the record's own, whatever other records there are",
    DECLARED_INDEX: "a record's index is its own for good, as was declared: none moves when another comes or goes",
}
_COPIES = (
    "no copy or backup of the run's folder went on elsewhere, where neither this state folder, an account nor an "
    "anchor file knows its head: the ends of all copies together cost more than one of them says",
    ON_TRUST,
)
_REMEMBERED = ("the newest entry that is remembered outside the run's folder is in this ledger", CHECKED)
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
# What several processes take on trust of each other (docs/privacy.md, theorem 15).
_RANKS = (
    (
        "the processes that trained together trust each other and the network between them, which saw sums before "
        "noise, the run's salt and what is owed",
        ON_TRUST,
    ),
    ("each record is one process' by a keyed hash of its identity, and each coordinate's noise is drawn by one process",
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
    state: LedgerState, *, signed: bool = False, private_folder_present: bool = False, remembered: bool = False
) -> tuple[Assumption, ...]:
    """What the theorem needs for such a run, each with how it is held.

    Args:
        signed: every entry's signature was verified with a key known from elsewhere.
        private_folder_present: the ledger's end was compared with the run's private folder.
        remembered: it was compared with what is remembered outside the folder.
    """
    plan, writer = state.plan, writer_of(state.genesis)
    planned = (
        () if plan is None else (("the steps in the ledger are the plan's, within the caps of its phases", CHECKED),)
    )
    written = _SIGNED if signed else _PRIVATE_FOLDER if private_folder_present else _UNSIGNED
    outside = (_REMEMBERED, _COPIES) if remembered else (_COPIES,)
    noise = () if writer == OWN_LOOP else tuple((text, ON_TRUST) for text in _EXACT)
    named = _IDENTITIES.get(str(state.genesis.get("identities")))
    identities = () if named is None else ((named, ON_TRUST),)
    every = (
        *_COMMON,
        *_STEPS[writer],
        *identities,
        *planned,
        *_of_mechanism(state, writer),
        written,
        *outside,
        *noise,
        _LAST,
    )
    return tuple(Assumption(text=text, held=held) for text, held in every)


def _of_mechanism(state: LedgerState, writer: str) -> tuple[tuple[str, str], ...]:
    """What the plan's own mechanism needs beside; a loop of one's own merely states it."""
    plan = state.plan
    if plan is None:
        return ()
    by_feedback = {Feedback.BANDED: _BANDED, Feedback.PAPER: _PAPER, Feedback.NONE: ()}
    extra = (*(_WARM_START if plan.warm_start is not None else ()), *by_feedback[plan.feedback])
    extra += _CANARIES if state.canaries is not None else ()
    extra += _RANKS if state.ranks > 1 else ()
    if writer != OWN_LOOP:
        return extra
    return tuple((text, ON_TRUST if held == BY_CONSTRUCTION else held) for text, held in extra)
