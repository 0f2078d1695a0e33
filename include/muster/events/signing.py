"""Ed25519 signatures (RFC 8032) with a key of this installation."""

from __future__ import annotations

import base64
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from muster.errors import MusterError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY = "audit-key.pem"
"""The private key's name in the state folder: PKCS#8, unencrypted, 0600."""


class Signer:
    """Signs with the key in a folder, which is made at the first use."""

    def __init__(self, folder: Path) -> None:
        self._key = _private(folder / KEY)
        self.public = public_pem(self._key.public_key())
        """The public key as PEM."""

    def sign(self, text: str) -> str:
        """The signature of UTF-8 text, in base64."""
        return base64.b64encode(self._key.sign(text.encode())).decode()


class Checker:
    """Checks signatures against a public key."""

    def __init__(self, pem: str) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(pem.encode())
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise MusterError("This is no public key for Ed25519.", remedy="Give the file audit-key.pub.pem.")
        self._key = key
        self.fingerprint = fingerprint(public_pem(key))
        """Of the public key."""

    def valid(self, text: str, signature: str) -> bool:
        """True when the key's owner signed exactly this text."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(base64.b64decode(signature, validate=True), text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


def fingerprint(pem: str) -> str:
    """SHA-256 of a public key's PEM: what two people compare aloud."""
    return sha256(pem.encode()).hexdigest()


def public_pem(key: Ed25519PublicKey) -> str:
    """A public key as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _private(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if not path.exists():
            _make(path)
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise MusterError(
            f"The key {path} cannot be read or made: {error.strerror}.", remedy="Give this account access to it."
        ) from error
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise MusterError(f"{path} is no key for Ed25519.", remedy="Restore it, or move it away to have a new one.")
    return key


def _make(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        # On disk before it has its name: a key that a crash left half written would pass for the installation's.
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link fails where the name is taken: of two that make the key at once, the first one's stands.
        path.hardlink_to(fresh)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
