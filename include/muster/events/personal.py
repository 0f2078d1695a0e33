"""Personal data in the log: sealed under a key for each subject, which can be thrown away.

What is stored, and hashed, is the sealed form, so a stream verifies as before when the key is gone. A key is
stored wrapped by the installation's master key, which is never in the database.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from muster.errors import MusterError
from muster.events.driver import Query, Work
from muster.events.sealing import AND, Keys, decrypt, encrypt
from muster.files import sync_folder

RUNS_ABOUT = """
SELECT stream FROM events WHERE type = 'run.opened' AND string_to_array(data->>'subject', '+') && %(ids)s::text[]
"""
"""Selects the runs that are about any of the subjects `ids`."""


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
            # On disk before it has its name: a power failure that took the key away would take all that was sealed with
            # it.
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a rename, a link never replaces what is there.
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
        sync_folder(path.parent)
    return path.read_text().strip()


class Vault:
    """The keys of subjects in the database. `master` is called when the master key is first needed."""

    def __init__(self, master: Callable[[], bytes]) -> None:
        self._load = master

    @cached_property
    def _master(self) -> bytes:
        return self._load()

    def name_id(self, name: str) -> str:
        """The subject's id in the log, a keyed hash: the name is personal itself, and a plain hash could be guessed."""
        return hmac.digest(self._derived(b"names"), name.encode(), sha256).hex()[:32]

    def enrol(self, name: str) -> Work[str]:
        """The subject's id; its key is made at first use. A subject that was forgotten and comes back gets a new id."""
        base = self.name_id(as_known(name))
        while True:
            newest = (yield [_newest(base)])[0]
            if newest and newest[0][1]:
                return str(newest[0][0])
            # Subjects that were forgotten keep a row without a key, so counting the rows gives an id that was never
            # used.
            fresh = base if not newest else f"{base}.{newest[0][2] + 1}"
            # Of two that enrol a subject at once one insert does nothing; both then find the key that stands.
            yield [_insert(fresh, self._wrap(fresh, os.urandom(32)))]

    def keys(self, ids: Sequence[str]) -> Work[Keys]:
        """The keys of these subjects, or of several together (`a+b`); an unknown one is left out."""
        answers = yield [_select(sorted({part for id in ids for part in id.split(AND)}))]
        own = {id: None if wrapped is None else self._unwrap(id, bytes(wrapped)) for id, wrapped in answers[0]}
        return {id: _together([own[part] for part in id.split(AND)]) for id in ids if own.keys() >= {*id.split(AND)}}

    def _wrap(self, id: str, key: bytes) -> bytes:
        return encrypt(self._derived(b"wrapping"), key, id.encode())

    def _unwrap(self, id: str, wrapped: bytes) -> bytes:
        key = decrypt(self._derived(b"wrapping"), wrapped, id.encode())
        if key is None:
            raise MusterError(
                "The key of a subject was wrapped by another master key than this process has.",
                remedy="Give every process of this installation the same MUSTER_MASTER_KEY.",
            )
        return key

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.digest(self._master, b"muster personal data: " + purpose, sha256)


def as_known(name: str) -> str:
    """A person's name however it was typed: without spaces around it, a letter and its accent as one sign."""
    return unicodedata.normalize("NFC", name.strip())


def _together(keys: Sequence[bytes | None]) -> bytes | None:
    """One key from those of several subjects; none when one of them is forgotten."""
    if None in keys or len(keys) == 1:
        return None if None in keys else keys[0]
    # Made from all of their keys, and kept nowhere: with any one of them gone it cannot be made again.
    return hmac.digest(b"muster personal data: several subjects", b"".join(filter(None, keys)), sha256)


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
