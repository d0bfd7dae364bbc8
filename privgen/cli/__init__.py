"""The command line: one group, one file a command, each loaded when it is called.

`privgen plan` and `privgen audit` load no torch. Errors that we know become one red line with a remedy and
exit status 1; an option out of its range is wrong usage, exit status 2; `--debug` shows the traceback.
"""

from __future__ import annotations

from privgen.cli.group import main

__all__ = ["main"]
