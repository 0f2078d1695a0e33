"""Sealing of values under a subject's key, their marks, and the subject of the work under way."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from muster.errors import Final
from muster.events.canonical import canonical

T = TypeVar("T")

SEALED = "$personal"
"""The key that marks a sealed value: `{"$personal": subject id, "sealed": Base64 of nonce, ciphertext; unpadded}`."""
FORGOTTEN = "$forgotten"
"""The key that marks a value that nobody can read any more: `{"$forgotten": subject id}`."""
AND = "+"
"""Between the ids of several subjects: a value sealed for all of them is forgotten with any of them."""
WITHHELD = "why is personal data; `muster show` says it"
"""What stands for words that only the log may hold."""
GONE = "[forgotten]"
"""What stands for words that nobody can read any more."""

_NONCE = 12
"""Bytes; NIST SP 800-38D, section 8.2: 96 bits, drawn at random, for far fewer than 2^32 values a key."""

Keys = Mapping[str, bytes | None]
"""The key of each subject that is known; None for one that was forgotten."""


class ForgottenMeanwhile(Final):
    """A subject was forgotten since the work read their data: it ends, and is performed again with what is left."""

    repeats_data = False


def seal(value: object, *, id: str, key: bytes | None, stream: str) -> object:
    """`value` as only the subject's key can open it. Without a key there is nobody to seal it for: it is dropped."""
    if value is None or is_marker(value):
        return value
    if key is None:
        return {FORGOTTEN: id}
    sealed = encrypt(key, canonical(value).encode(), _bound_to(id, stream))
    # Without padding: ciphertext that happens to end in `pw==` looks like a password, and would be redacted.
    return {SEALED: id, "sealed": base64.b64encode(sealed).decode().rstrip("=")}


@dataclass(frozen=True)
class Seals:
    """Seals and opens values about one run that are kept outside of its log."""

    subject: str
    key: bytes | None
    stream: str

    def seal(self, value: object) -> object:
        """`value` as only the subject's key can open it."""
        return seal(value, id=self.subject, key=self.key, stream=self.stream)

    def open(self, value: object) -> object:
        """What was sealed."""
        return open_all(value, {self.subject: self.key}, self.stream)

    @property
    def known(self) -> list[str]:
        """The subjects whose data may be in memory; none once they are forgotten."""
        return [] if self.key is None else self.subject.split(AND)


# Without a default: in a thread that a skill or a library has started nobody has said whom the work is about, which is
# not the same as None, about nobody.
_current: ContextVar[Seals | None] = ContextVar("muster_seals")
_under_way: set[object] = set()
"""One mark for each work item about a person that is under way in this process."""


@contextmanager
def working_about(seals: Seals | None) -> Iterator[None]:
    """Everything that is kept of the work in the body is about this subject; about nobody for None."""
    before, mark = _current.set(seals), object()
    if seals is not None:
        _under_way.add(mark)
    try:
        yield
    finally:
        _under_way.discard(mark)
        _current.reset(before)


SealsOf = Callable[[str], Awaitable[Seals | None]]
"""Gives the seals of a run's subject; None for a run about nobody."""


async def about_whom(seals_of: SealsOf, run: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work as work about the run's subjects, and return what it returns.

    If they are forgotten meanwhile, it is done anew, with everything read again.
    """
    while True:
        # The loop ends: work that begins after the key is gone is never refused, because `ensure_still_known` lets it
        # pass.
        with working_about(await seals_of(run)), suppress(ForgottenMeanwhile):
            return await work()


async def ensure_still_known(seals_of: SealsOf) -> None:
    """Do nothing while the subjects of the work are known: to be called before work goes on with what it has read.

    Raises:
        ForgottenMeanwhile: they were forgotten since it began.
    """
    if (about := current_seals()) is None or not about.known:
        return
    now = await seals_of(about.stream)
    if now is None or not now.known:
        raise ForgottenMeanwhile(f"Whom {about.stream} is about was forgotten meanwhile.")


def current_seals() -> Seals | None:
    """The seals of the work under way: in this coroutine, in tasks it has begun, and in threads it was handed to.

    None in a thread that a skill starts itself: the database that the skill is given carries them there.
    """
    return _current.get(None)


def may_be_about_somebody() -> bool:
    """True when this code works about somebody, or when that is not known and some work of the process does."""
    try:
        return _current.get() is not None
    except LookupError:
        return bool(_under_way)


def told(error: BaseException, seals: Seals | None) -> str:
    """An error in words, for tables that are read without a key: of work about somebody only its class."""
    return f"{type(error).__name__}: {error}" if seals is None else type(error).__name__


def open_all(value: object, keys: Keys, stream: str) -> Any:
    """`value` with everything in it opened that can be, and the rest marked as forgotten."""
    if isinstance(value, list):
        return [open_all(inner, keys, stream) for inner in value]
    if not isinstance(value, Mapping):
        return value
    if not is_sealed(value):
        return {name: open_all(inner, keys, stream) for name, inner in value.items()}
    id = value[SEALED]
    # Of a subject that the caller has no key of: it stays sealed, which is not the same as forgotten.
    if id not in keys:
        return dict(value)
    key = keys[id]
    if key is None:
        return {FORGOTTEN: id}
    plain = decrypt(key, _bytes(value["sealed"]), _bound_to(id, stream))
    # What only looks sealed, as a document may hold, stays what it is.
    return dict(value) if plain is None else json.loads(plain)


def sealed_ids(value: object) -> set[str]:
    """The subjects whose data is in `value`."""
    if isinstance(value, list):
        return set().union(*(sealed_ids(inner) for inner in value))
    if not isinstance(value, Mapping):
        return set()
    return {value[SEALED]} if is_sealed(value) else set().union(*(sealed_ids(inner) for inner in value.values()))


def words(value: object) -> str | None:
    """A text of an event for a reader without a key; `WITHHELD` for a sealed one, `GONE` for a forgotten one."""
    if value is None or isinstance(value, str):
        return value
    return WITHHELD if is_sealed(value) else GONE if is_marker(value) else str(value)


def is_sealed(value: object) -> bool:
    """True for a sealed value."""
    return isinstance(value, Mapping) and value.keys() == {SEALED, "sealed"} and isinstance(value[SEALED], str)


def is_marker(value: object) -> bool:
    """True for the marker of forgotten data."""
    return isinstance(value, Mapping) and value.keys() == {FORGOTTEN}


def is_forgotten(data: Mapping[str, Any]) -> bool:
    """True for an event's data of which part cannot be read any more."""
    return any(is_marker(value) for value in data.values())


def encrypt(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """AES-256-GCM: a random nonce and the ciphertext, which opens only with the same `bound_to`."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def decrypt(key: bytes, sealed: bytes, bound_to: bytes) -> bytes | None:
    """What was encrypted; None when it was not with this key, or not for this."""
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
        # Values of earlier versions have their padding.
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (TypeError, ValueError):
        return b""
