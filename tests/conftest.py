"""What all tests share.

No test reads or writes the user's own state folder, and coverage does not follow an oracle's arithmetic, which would
double the time of the suite.
"""

import os
import tempfile

import pytest

_STATE = tempfile.TemporaryDirectory(prefix="privgen-state-")
os.environ["PRIVGEN_STATE"] = _STATE.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "mpmath" in vars(getattr(item, "module", object)):
            item.add_marker(pytest.mark.no_cover)
