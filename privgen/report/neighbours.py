"""A neighbour replay as a report: each kind of record, and how far one of it moved what is released."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from accountant.bound_text import lower_text
from privgen.report.document import Paragraph, Report, Section, Table
from privgen.report.text import plain


class Row(Protocol):
    """A kind of record (`privgen.attacks.neighbours.Replayed`)."""

    @property
    def kind(self) -> str:
        """Of record."""

    @property
    def pairs(self) -> int:
        """Neighbours that were run."""

    @property
    def moved(self) -> float:
        """In units of the charge."""

    @property
    def problem(self) -> str | None:
        """What went wrong, or None."""


class Found(Protocol):
    """All kinds (`privgen.attacks.neighbours.Replay`)."""

    @property
    def rows(self) -> Sequence[Row]:
        """By kind."""

    @property
    def holds(self) -> bool:
        """Whether nothing went wrong."""


def replay_report(found: Found, named: str) -> Report:
    """The report of a replay.

    Args:
        named: the step, as it was given.
    """
    rows = tuple(
        (plain(row.kind), str(row.pairs), lower_text(row.moved), plain(row.problem or "within what is charged"))
        for row in found.rows
    )
    head = ("our record is", "pairs", "moved, of the charge", "found")
    text = (
        "Each pair of data sets differs in one record and is run with the same randomness; the distance of what is "
        "released before noise is divided by the sensitivity that the noise is for. A number above 1 is a proof; "
        "numbers up to 1 are none, for other records may do more, and noise and sampling are not looked at here."
    )
    table = Table(caption="What one record moves", head=head, rows=rows)
    says = "stays within what is charged" if found.holds else "DOES NOT DO WHAT IS CHARGED"
    return Report(
        title="Neighbour replay",
        tone="passed" if found.holds else "failed",
        headline=f"On these records the step {says}",
        summary=plain(named),
        figures=(),
        sections=(Section(key="neighbours", title="What one record moves", blocks=(Paragraph(text=text), table)),),
    )
