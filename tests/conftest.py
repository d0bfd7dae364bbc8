"""What all tests share: coverage does not follow an oracle's arithmetic, which would double the time of the suite."""

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if "mpmath" in vars(getattr(item, "module", object)):
            item.add_marker(pytest.mark.no_cover)
