"""Ed25519 signatures for ledgers: who rewrites the whole chain without the key is detected.

A key is a file of 32 raw bytes in hexadecimal; the public half goes into the ledger's genesis entry and is
what an auditor compares with the key that they were given by another way.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> public = new_key(folder / "officer.key")
    >>> signature = load_signer(folder / "officer.key").sign(b"digest")
    >>> verify_signature(public, b"digest", signature), verify_signature(public, b"other", signature)
    (True, False)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from accountant.errors import LedgerError


@dataclass(frozen=True, slots=True)
class LedgerSigner:
    """Signs digests with a private key.

    Args:
        public_key: 32 bytes in hexadecimal; goes into the genesis entry.
    """

    public_key: str
    _private: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """64 bytes that only the key's holder can make."""
        return self._private.sign(message)


def new_key(path: Path | str) -> str:
    """Make a private key file (mode 0600) and `path`.pub beside it; returns the public key in hexadecimal.

    Raises:
        LedgerError: the file exists already or cannot be written.
    """
    path = Path(path)
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw().hex()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(private.private_bytes_raw().hex() + "\n")
        path.with_name(path.name + ".pub").write_text(public + "\n")
    except FileExistsError as error:
        raise LedgerError(f"{path} exists already; a key is never overwritten. Choose another name.") from error
    except OSError as error:
        raise LedgerError(f"Cannot write the key {path}: {error.strerror}; choose another place.") from error
    return public


def load_signer(path: Path | str) -> LedgerSigner:
    """The signer of a private key file.

    Raises:
        LedgerError: missing, or not such a file.
    """
    try:
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(Path(path).read_text().strip()))
    except (OSError, ValueError) as error:
        raise LedgerError(f"Cannot read the signing key {path}: {error}; make one with privgen keys new.") from error
    return LedgerSigner(private.public_key().public_bytes_raw().hex(), private)


def load_public_key(text: str) -> str:
    """A public key given as hexadecimal or as the name of a .pub file.

    Raises:
        LedgerError: it is neither.
    """
    try:
        candidate = text if len(text) == 64 and not Path(text).exists() else Path(text).read_text()
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(candidate.strip())).public_bytes_raw().hex()
    except (OSError, ValueError) as error:
        raise LedgerError(f"Expected --public-key {text!r} to be 64 hexadecimal digits or a .pub file.") from error


def verify_signature(public_key: str, message: bytes, signature: bytes) -> bool:
    """Whether the holder of the key signed that message."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
