"""`JsonObject`: a field is what was expected, or is refused with its name and what stood there."""

import pytest

from accountant import InvalidValue
from accountant.json_reader import JsonObject

READ = JsonObject(
    {"text": "a", "number": 1.5, "whole": 3, "flag": True, "none": None, "inner": {"x": "y"}, "items": [{"n": 1}]}, "it"
)


def test_what_is_expected_is_read_as_it_stands():
    assert (READ.text("text"), READ.number("number"), READ.integer("whole"), READ.flag("flag")) == ("a", 1.5, 3, True)
    assert type(READ.number("whole")) is int
    assert READ.child("inner").texts is not None and READ.texts("inner") == {"x": "y"}
    assert [item.integer("n") for item in READ.children("items")] == [1]
    assert READ.optional_text("none") is READ.optional_text("absent") is READ.optional_child("none") is None
    assert READ.flag("absent", default=False) is False and "absent" not in READ and "text" in READ


@pytest.mark.parametrize(
    "read",
    [
        lambda: READ.text("number"),
        lambda: READ.text("absent"),
        lambda: READ.optional_text("whole"),
        lambda: READ.number("text"),
        lambda: READ.number("flag"),
        lambda: READ.number("none"),
        lambda: READ.integer("number"),
        lambda: READ.integer("flag"),
        lambda: READ.integer("whole", least=4),
        lambda: READ.flag("whole"),
        lambda: READ.flag("absent"),
        lambda: READ.child("items"),
        lambda: list(READ.children("inner")),
        lambda: list(READ.children("text")),
        lambda: READ.texts("items"),
        lambda: JsonObject([], "it"),
        lambda: READ.require_fields(["text"]),
        lambda: READ.require_fields([*READ.data, "absent"]),
    ],
)
def test_anything_else_is_refused_and_says_where(read):
    with pytest.raises(InvalidValue, match="it"):
        read()


def test_optional_fields_may_be_there_and_need_not():
    JsonObject({"a": 1, "b": 2}, "it").require_fields(["a"], optional=["b"])
    JsonObject({"a": 1}, "it").require_fields(["a"], optional=["b"])
