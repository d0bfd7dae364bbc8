"""Judged gates as files that a machine reads: JSON, and JUnit's XML, which CI systems show as a list of tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict
from xml.etree import ElementTree

from accountant.files import write_durably
from accountant.gates import Judged, JudgedJson
from accountant.policy import Policy
from privgen.report.text import plain

SCHEMA = "privgen.gates/1"


class PolicyJson(TypedDict):
    """By which policy it was asked."""

    name: str
    digest: str
    signed_by: str | None


class GatesJson(TypedDict):
    """All gates of one thing, and whether all of them were met."""

    schema: str
    of: str
    met: bool
    policy: PolicyJson | None
    gates: list[JudgedJson]


def gates_json(judged: Sequence[Judged], *, of: str, policy: Policy | None) -> GatesJson:
    """Judged gates as JSON.

    Args:
        of: the run or the images that were asked. policy: that asked, or None.
    """
    return {
        "schema": SCHEMA,
        "of": of,
        "met": all(one.met for one in judged),
        "policy": None
        if policy is None
        else {"name": policy.name, "digest": policy.digest, "signed_by": policy.signed_by},
        "gates": [one.to_json() for one in judged],
    }


def junit(judged: Sequence[Judged], *, of: str) -> bytes:
    """Judged gates as one JUnit test suite: a gate that was not met is a failure."""
    failed = sum(not one.met for one in judged)
    suite = ElementTree.Element(
        "testsuite", name="privgen gates", tests=str(len(judged)), failures=str(failed), errors="0", skipped="0"
    )
    for one in judged:
        case = ElementTree.SubElement(suite, "testcase", classname=plain(of), name=plain(one.gate))
        if not one.met:
            ElementTree.SubElement(case, "failure", message=plain(one.found)).text = plain(one.line())
    root = ElementTree.Element("testsuites")
    root.append(suite)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def write_gates(folder: Path, judged: Sequence[Judged], *, of: str, policy: Policy | None) -> tuple[Path, Path]:
    """Write FOLDER/gates.json and FOLDER/gates.xml, each whole or not at all, making the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_xml = folder / "gates.json", folder / "gates.xml"
    text = json.dumps(gates_json(judged, of=of, policy=policy), indent=2, ensure_ascii=False) + "\n"
    write_durably(as_json, text.encode("utf-8", "backslashreplace"))
    write_durably(as_xml, junit(judged, of=of))
    return as_json, as_xml
