"""A policy: the gates that an organisation asks of every run, in a YAML file that its privacy officer signs.

    schema: privgen.policy/1
    name: Images of patients
    audit: [epsilon<=3, delta<=1e-6, signed, noise=floored-gaussian, tpr@1%<=0.2]
    evaluate: [gen2real>=0.8, copying<=0.6]

The signature is of the file's bytes and lies beside it, in FILE.sig (`privgen keys sign FILE --key officer.key`). Who
gives the officer's public key is refused a policy that this key did not sign; who gives none is warned.
Only plain YAML is read, a key twice in one mapping is an error, and so is whatever the schema does not know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accountant.errors import InvalidValue, PolicyError
from accountant.files import write_durably
from accountant.gates import Gate, parse_gate
from accountant.ledger.signing import LedgerSigner, verify_signature

SCHEMA = "privgen.policy/1"
_FIELDS = {"schema", "name", "audit", "evaluate"}
# A ledger's signatures are of 32 bytes: no signature of the one is ever one of the other.
_DOMAIN = b"privgen.policy/1\n"
_LARGEST = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What is asked of a run.

    Args:
        name: for people. audit, evaluate: gates of the two commands. digest: SHA-256 of the file.
        signed_by: the public key, hexadecimal, that was given and has signed it; None where none was given.
    """

    name: str
    audit: tuple[Gate, ...]
    evaluate: tuple[Gate, ...]
    digest: str
    signed_by: str | None


def signature_path(path: Path) -> Path:
    """Where a policy's signature lies."""
    return path.with_name(path.name + ".sig")


def sign_policy(path: Path, signer: LedgerSigner) -> Path:
    """Sign a policy that can be read, and write FILE.sig.

    Raises:
        PolicyError: it is no policy.
    """
    data = _bytes_of(path)
    _parsed(data, path, signed_by=None)
    place = signature_path(path)
    write_durably(place, f"{signer.sign(_DOMAIN + data).hex()}\n".encode())
    return place


def load_policy(path: Path, *, public_key: str | None = None) -> Policy:
    """Read a policy.

    Args:
        path: of the YAML file. public_key: the officer's, hexadecimal; then the signature must be that key's.

    Raises:
        PolicyError: it is no policy, or not signed by that key.
    """
    data = _bytes_of(path)
    if public_key is not None and not verify_signature(public_key, _DOMAIN + data, _signature(path)):
        raise PolicyError(
            f"{signature_path(path)} is not {public_key[:16]}…'s signature of {path}; ask whoever signs it."
        )
    return _parsed(data, path, signed_by=public_key)


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"Cannot read the policy {path}: {error.strerror}.") from error
    if len(data) > _LARGEST:
        raise PolicyError(f"{path} is too large to be a policy.")
    return data


def _signature(path: Path) -> bytes:
    place = signature_path(path)
    try:
        return bytes.fromhex(place.read_text().strip())
    except (OSError, ValueError) as error:
        raise PolicyError(f"{path} has no signature in {place}; sign it with privgen keys sign.") from error


def _parsed(data: bytes, path: Path, *, signed_by: str | None) -> Policy:
    value = _yaml(data, path)
    unknown = sorted(str(name) for name in value if name not in _FIELDS)
    if unknown or value.get("schema") != SCHEMA:
        what = f"the unknown field {unknown[0]!r}" if unknown else f"schema {value.get('schema')!r}"
        raise PolicyError(f"{path} has {what}; expected schema: {SCHEMA} and {', '.join(sorted(_FIELDS))}.")
    name = value.get("name", path.stem)
    if not isinstance(name, str):
        raise PolicyError(f"Expected the name {name!r} in {path} to be text.")
    audit, evaluate = (_gates(value.get(part, []), part, path) for part in ("audit", "evaluate"))
    if not audit and not evaluate:
        raise PolicyError(f"{path} asks for nothing; list gates under audit: or evaluate:.")
    digest = hashlib.sha256(data).hexdigest()
    return Policy(name=name, audit=audit, evaluate=evaluate, digest=digest, signed_by=signed_by)


def _yaml(data: bytes, path: Path) -> dict[Any, Any]:
    import yaml

    try:
        # Aliases are needed by no policy, and can make a small file a huge one.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, yaml.SafeLoader)):
            raise PolicyError(f"{path} has an alias (*name); write out what it stands for.")
        if _has_a_key_twice(yaml.compose(data, yaml.SafeLoader)):
            raise PolicyError(f"{path} has a key twice in one mapping, of which the later would win; keep one.")
        value = yaml.safe_load(data)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, PolicyError):
            raise
        raise PolicyError(f"{path} is no plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, Mapping):
        raise PolicyError(f"Expected {path} to be a mapping that begins with schema: {SCHEMA}.")
    return dict(value)


def _has_a_key_twice(node: Any) -> bool:
    import yaml

    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        return len(keys) != len(set(keys)) or any(_has_a_key_twice(child) for pair in node.value for child in pair)
    return isinstance(node, yaml.SequenceNode) and any(_has_a_key_twice(child) for child in node.value)


def _gates(value: object, part: str, path: Path) -> tuple[Gate, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise PolicyError(f"Expected {part}: in {path} to be a list of gates such as epsilon<=10.")
    try:
        return tuple(parse_gate(one) for one in value)
    except InvalidValue as error:
        raise PolicyError(f"{path}: {error}") from error
