"""Signals while a command works: INT, TERM and HUP end it in order, with exit status 130, 143 or 129.

Everywhere but in training, the work is left where it is: what is finished is kept, and the next run of an evaluation or
an experiment goes on from there. Training writes a checkpoint first, and on USR1 it writes one and goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
# Windows has no HUP and no USR1.
ENDING = tuple(
    number for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)) if number is not None
)
_KEEPING = tuple(number for number in (getattr(signal, "SIGUSR1", None),) if number is not None)


class Requests:
    """What signals asked of a training: to end, by which signal; or to write a checkpoint and go on."""

    def __init__(self) -> None:
        self.ending: int | None = None
        self._keep = self._kept = False

    def end(self) -> bool:
        """Whether to checkpoint and end."""
        return self.ending is not None

    def keep(self) -> bool:
        """Whether a checkpoint was asked for; asked once for each time."""
        asked, self._keep = self._keep, False
        self._kept = self._kept or asked
        return asked

    def tell_kept(self) -> bool:
        """Whether the checkpoint that was just written was asked for; asked once for each."""
        kept, self._kept = self._kept, False
        return kept

    def receive(self, number: int, frame: FrameType | None) -> None:
        """A signal's handler: it may run in the middle of a write to stderr, so it writes by itself."""
        if number in _KEEPING:
            self._keep = True
            say("A checkpoint is written after this step; training goes on.")
            return
        if self.ending is not None and number == signal.SIGINT:
            # The ledger covers every step that ran; a resume drops what was owed and goes on.
            say("Stopped at once; the last checkpoint stands. Go on by --resume.")
            os._exit(128 + number)
        self.ending = number
        _let_go_of_a_closed_terminal(number)
        say("Stopping after this step; a checkpoint is being written ...")


@contextmanager
def requests() -> Iterator[Requests]:
    """Signals as requests to a training, which it answers between two steps."""
    made = Requests()
    with _handled((*ENDING, *_KEEPING), made.receive):
        yield made


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """INT, TERM and HUP raise SystemExit, so that whatever is open is closed; the second INT ends at once."""
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            os._exit(128 + number)
        received.append(number)
        _let_go_of_a_closed_terminal(number)
        say("Interrupted. What was finished is kept.")
        sys.exit(128 + number)

    with _handled(ENDING, end):
        yield


@contextmanager
def _handled(numbers: Sequence[int], handler: Handler) -> Iterator[None]:
    """A handler for these signals; Python lets the main thread alone have one, and nohup's HUP stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hup = getattr(signal, "SIGHUP", None)
    chosen = [number for number in numbers if not (number == hup and signal.getsignal(number) is signal.SIG_IGN)]
    before = {number: signal.signal(number, handler) for number in chosen}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def say(text: str) -> None:
    """A line on stderr, past every buffer; nobody may be there to read it."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


def _let_go_of_a_closed_terminal(number: int) -> None:
    """After HUP the terminal is gone and every write to it fails; a checkpoint must not fail for that."""
    if number != getattr(signal, "SIGHUP", None):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if os.isatty(descriptor):
            os.dup2(nothing, descriptor)
    os.close(nothing)
