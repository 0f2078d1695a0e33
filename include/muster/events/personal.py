"""Personal data in the log: sealed under a key for each subject, which can be thrown away.

What is stored, and hashed, is the sealed form, so a stream verifies as before when the key is gone. A key is
stored wrapped by the installation's master key, which is never in the database.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from muster.errors import MusterError
from muster.events.canonical import canonical
from muster.events.driver import Query, Work

SEALED = "$personal"
"""The key that marks a sealed value: `{"$personal": subject id, "sealed": Base64 of nonce and ciphertext}`."""
FORGOTTEN = "$forgotten"
"""The key that marks what nobody can read any more: `{"$forgotten": subject id}`."""

_NONCE = 12
"""Bytes; NIST SP 800-38D, section 8.2: 96 bits, drawn at random, for far fewer than 2^32 values a key."""

Keys = Mapping[str, bytes | None]
"""The key of each subject that is known; None for one that was forgotten."""


def load_master(state: Path | None) -> bytes:
    """The master key: 32 bytes in Base64 from `MUSTER_MASTER_KEY`, else from a file that is made at first use.

    Raises:
        MusterError: it is not 32 bytes, or there is no folder to keep it in.
    """
    text = os.environ.get("MUSTER_MASTER_KEY") or None
    if text is None and state is None:
        raise MusterError(
            "There is no master key for personal data.", remedy="Set MUSTER_MASTER_KEY to 32 bytes in Base64."
        )
    if text is None:
        assert state is not None
        text = _kept(state / "master.key")
    try:
        key = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise MusterError("The master key for personal data is not 32 bytes in Base64.", remedy="Restore it.")
    return key


def _kept(path: Path) -> str:
    """The file's text. Of several processes that make it at once, the first one's stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    if not path.exists():
        with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(base64.urlsafe_b64encode(os.urandom(32)).decode())
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a rename, a link never replaces what is there.
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_text().strip()


class Vault:
    """The keys of subjects in the database, and what is sealed with them. `master` is asked for when first needed."""

    def __init__(self, master: Callable[[], bytes]) -> None:
        self._load = master

    @cached_property
    def _master(self) -> bytes:
        return self._load()

    def name_id(self, name: str) -> str:
        """What stands for the subject in the log: a name is personal itself, and so is any plain hash of it."""
        return hmac.digest(self._derived(b"names"), name.encode(), sha256).hex()[:32]

    def enrol(self, name: str) -> Work[str]:
        """The subject's id, its key made at first use. Someone who was forgotten and comes back gets a new one."""
        base = self.name_id(name)
        while True:
            found = (yield [_newest(base)])[0]
            if found and found[0][1]:
                return str(found[0][0])
            fresh = base if not found else f"{base}.{found[0][2] + 1}"
            yield [_insert(fresh, self._wrap(fresh, os.urandom(32)))]

    def keys(self, ids: Sequence[str]) -> Work[Keys]:
        """The keys of these subjects; an unknown one is left out."""
        found = yield [_select(ids)]
        return {id: None if wrapped is None else self._unwrap(id, bytes(wrapped)) for id, wrapped in found[0]}

    def _wrap(self, id: str, key: bytes) -> bytes:
        return _encrypt(self._derived(b"wrapping"), key, id.encode())

    def _unwrap(self, id: str, wrapped: bytes) -> bytes:
        key = _decrypt(self._derived(b"wrapping"), wrapped, id.encode())
        if key is None:
            raise MusterError(
                "The key of a subject was wrapped by another master key than this process has.",
                remedy="Give every process of this installation the same MUSTER_MASTER_KEY.",
            )
        return key

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.digest(self._master, b"muster personal data: " + purpose, sha256)


def seal(value: Any, *, id: str, key: bytes | None, stream: str) -> Any:
    """`value` as only the subject's key can open it. Without a key there is nobody to seal it for: it is dropped."""
    if value is None or is_marker(value):
        return value
    if key is None:
        return {FORGOTTEN: id}
    sealed = _encrypt(key, canonical(value).encode(), _bound_to(id, stream))
    return {SEALED: id, "sealed": base64.b64encode(sealed).decode()}


def open_all(value: Any, keys: Keys, stream: str) -> Any:
    """`value` with everything in it opened that can be, and the rest marked as forgotten."""
    if isinstance(value, list):
        return [open_all(inner, keys, stream) for inner in value]
    if not isinstance(value, Mapping):
        return value
    if not is_sealed(value):
        return {name: open_all(inner, keys, stream) for name, inner in value.items()}
    id = value[SEALED]
    if id not in keys:
        return dict(value)
    key = keys[id]
    if key is None:
        return {FORGOTTEN: id}
    plain = _decrypt(key, _bytes(value["sealed"]), _bound_to(id, stream))
    # What only looks sealed, as a document may hold, stays what it is.
    return dict(value) if plain is None else json.loads(plain)


def sealed_ids(value: Any) -> set[str]:
    """The subjects whose data is in `value`."""
    if isinstance(value, list):
        return set().union(*(sealed_ids(inner) for inner in value))
    if not isinstance(value, Mapping):
        return set()
    return {value[SEALED]} if is_sealed(value) else set().union(*(sealed_ids(inner) for inner in value.values()))


def is_sealed(value: Any) -> bool:
    """True for a sealed value."""
    return isinstance(value, Mapping) and value.keys() == {SEALED, "sealed"} and isinstance(value[SEALED], str)


def is_marker(value: Any) -> bool:
    """True for what stands for forgotten data."""
    return isinstance(value, Mapping) and value.keys() == {FORGOTTEN}


def _encrypt(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def _decrypt(key: bytes, sealed: bytes, bound_to: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to)
    except (InvalidTag, ValueError):
        return None


def _bound_to(id: str, stream: str) -> bytes:
    """What a ciphertext belongs to: carried into another run, it does not open."""
    return f"{id}\n{stream}".encode()


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        return b""


def _newest(base: str) -> Query:
    return Query(
        "SELECT id, wrapped_key IS NOT NULL, count(*) OVER () FROM subjects"
        " WHERE id = %(base)s OR id LIKE %(base)s || '.%%' ORDER BY wrapped_key IS NULL, created_at DESC LIMIT 1",
        {"base": base},
    )


def _insert(id: str, wrapped: bytes) -> Query:
    return Query(
        "INSERT INTO subjects (id, wrapped_key) VALUES (%(id)s, %(wrapped)s) ON CONFLICT DO NOTHING",
        {"id": id, "wrapped": wrapped},
    )


def _select(ids: Sequence[str]) -> Query:
    return Query("SELECT id, wrapped_key FROM subjects WHERE id = ANY(%(ids)s::text[])", {"ids": list(ids)})
