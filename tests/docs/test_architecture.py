"""The house as its page says: no circle, few rooms and arrows, and every file that is named is there."""

import importlib.machinery
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["docs/architecture.md", "CONTRIBUTING.md", "README.md"]


@pytest.fixture(scope="module")
def drawing():
    loader = importlib.machinery.SourceFileLoader("architecture", str(ROOT / "scripts" / "architecture"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("architecture", loader))
    loader.exec_module(module)
    return module


def test_the_house_has_no_circle_and_few_rooms_floors_and_arrows(drawing):
    house = drawing.graph_of(drawing.house_room)
    assert len(house) <= 20
    assert max(drawing.floors_of(house).values()) <= 7
    assert sum(map(len, house.values())) < 80
    assert drawing.floors_of(drawing.graph_of(drawing.accountant_room))


def test_a_circle_is_named(drawing):
    with pytest.raises(SystemExit, match="a → b → a"):
        drawing.floors_of({"a": {"b"}, "b": {"a"}})


def test_an_import_for_annotations_alone_is_no_arrow(drawing):
    text = "import a\nif TYPE_CHECKING:\n    import b\ndef f():\n    from c import d\n"
    assert list(drawing.imports_of(drawing.ast.parse(text))) == ["a", "c.d"]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page):
    named = re.findall(r"`((?:accountant|planners|privgen|tests|docs|scripts)/[\w/.-]*)`", (ROOT / page).read_text())
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
