"""Text from a ledger, made safe to show: nothing in it controls a terminal or changes the reading order.

>>> plain("done\\n\\x1b[2J\\u202eliar")
'done\\\\n\\\\x1b[2J\\\\u202eliar'
"""

from __future__ import annotations

import unicodedata

# Control, format (bidirectional overrides among them), surrogate, private, unassigned; line and paragraph separators.
_NEVER_SHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_LONGEST = 500


def plain(value: object) -> str:
    """One line of printable text: what is not printable is shown as its escape, and a very long text is cut.

    Args:
        value: anything; it is converted to text first.
    """
    text = str(value)
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
    return "".join(c if unicodedata.category(c) not in _NEVER_SHOWN else _escape(c) for c in shown)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
