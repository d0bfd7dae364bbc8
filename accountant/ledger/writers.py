"""Who wrote a ledger, as its first entry says: what is enforced of its steps differs, and what an audit says of them.

| writer | what its steps are made by |
|---|---|
| `privgen-training` | privgen's own training: nothing reaches the noise but by its one release function |
| `privgen-library` | the library's private step, in somebody's loop: the step is ours, the loop is not |
| `own-loop` | a loop of one's own under the guard: the guard charges what it is told, and sees nothing of the step |

A ledger that does not say is taken for the last. The word is the writer's own: that the program that ran is the
published one stays on trust.
"""

from __future__ import annotations

from collections.abc import Mapping

PRIVGEN_TRAINING, PRIVGEN_LIBRARY, OWN_LOOP = "privgen-training", "privgen-library", "own-loop"
# By what the library tells records apart, as its first entry says: content, what the caller gives, or the index that
# the caller declares to be a record's own for good.
BY_CONTENT, GIVEN, DECLARED_INDEX = "content", "given", "declared-index"


def writer_of(genesis: Mapping[str, object]) -> str:
    """What a genesis entry says of its writer.

    >>> writer_of({}), writer_of({"writer": "privgen-training"})
    ('own-loop', 'privgen-training')
    """
    named = genesis.get("writer")
    return named if isinstance(named, str) and named in (PRIVGEN_TRAINING, PRIVGEN_LIBRARY) else OWN_LOOP
