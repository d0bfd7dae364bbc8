"""One way to write JSON and one way to digest it, so that equal values have equal bytes.

>>> canonical({"b": 1, "a": 0.1})
b'{"a":0.1,"b":1}'
>>> parse_object(b'{"a": NaN}')
Traceback (most recent call last):
...
ValueError: NaN is not JSON
"""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> bytes:
    """Sorted keys, no white space, ASCII only, no NaN or infinity; floats round-trip exactly.

    Raises:
        ValueError: a NaN or an infinity is in it.
        TypeError: something in it is not JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def digest(value: object) -> str:
    """SHA-256 of the canonical bytes, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def parse_object(data: bytes) -> dict[str, object]:
    """A JSON object; duplicate keys, NaN, infinities and anything that is not an object are refused.

    Raises:
        ValueError: the bytes are not such an object.
    """
    value = json.loads(data, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
