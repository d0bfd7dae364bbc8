"""requirements.lock holds what pyproject.toml asks for, and not torch, of which a machine has its own build."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OWN_BUILD = {"torch", "torchvision"}


def locked():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def wanted():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for group in groups for text in group]


def test_every_dependency_is_locked_in_a_version_that_is_allowed():
    versions = {}
    for one in locked():
        (pin,) = one.specifier
        assert pin.operator == "==", one
        versions.setdefault(canonicalize_name(one.name), []).append(pin.version)
    for one in wanted():
        if one.name not in OWN_BUILD:
            found = versions.get(canonicalize_name(one.name), [])
            assert found, f"{one.name} is not in requirements.lock; run ./scripts/lock"
            assert all(one.specifier.contains(version, prereleases=True) for version in found), one


def test_what_a_machine_has_its_own_build_of_is_not_locked():
    names = {canonicalize_name(one.name) for one in locked()}
    assert not names & OWN_BUILD
    assert not [name for name in names if re.match("nvidia|cuda|triton", name)]


def test_the_lock_names_no_place_to_install_from():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text and "--" not in text
