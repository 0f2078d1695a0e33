"""Large values: stored once under their SHA-256, with a reference in the event."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from muster.errors import PermanentError
from muster.events.canonical import canonical

INLINE_LIMIT = 64 * 1024
"""Characters of canonical data an event holds itself; its largest top-level values move out until it fits."""

_SMALL = 256
"""Characters a reference may need: moving out less than this would make the event larger."""

REFERENCE = "$object"
"""The key that marks a reference: `{"$object": sha256, "size": bytes, "media_type": ...}`."""

_REFERENCE_KEY = f'"{REFERENCE}"'

MEDIA_TYPE = "application/json"


class ObjectHarmed(PermanentError):
    """A large value of an event is gone or was changed: the run does not go on until a person restores it."""


class StoredObject(NamedTuple):
    """Content and what it is; its name is the content's SHA-256."""

    sha256: str
    media_type: str
    content: bytes


def detach(data: Mapping[str, object]) -> tuple[str, list[StoredObject]]:
    """The canonical text an event stores for `data`, and the values that moved out of it."""
    text = canonical(data)
    if len(text) <= INLINE_LIMIT and _REFERENCE_KEY not in text:
        return text, []
    data = dict(data)
    texts = {name: canonical(value) for name, value in data.items()}
    size = len(text)
    moved = []
    # What looks like a reference first, as all of it has to move, then the largest, so that few values do.
    for name in sorted(texts, key=lambda key: (not is_reference(data[key]), -len(texts[key]), key)):
        # A value that only looks like a reference moves out too: what a page or a document
        # says must never be read back as another object's content.
        if (size <= INLINE_LIMIT or len(texts[name]) <= _SMALL) and not is_reference(data[name]):
            break
        content = texts[name].encode()
        stored = StoredObject(sha256(content).hexdigest(), MEDIA_TYPE, content)
        data[name] = {REFERENCE: stored.sha256, "size": len(content), "media_type": MEDIA_TYPE}
        moved.append(stored)
        size += len(canonical(data[name])) - len(texts[name])
    return canonical(data), moved


def is_reference(value: object) -> bool:
    """True when a top-level value of an event's stored data stands for an object."""
    return isinstance(value, dict) and REFERENCE in value


def references(data: Mapping[str, Any]) -> set[str]:
    """The SHA-256 of every object that `data` refers to."""
    # What somebody has put into the database need not be an event's data.
    values = data.values() if isinstance(data, Mapping) else ()
    return {value[REFERENCE] for value in values if is_reference(value)}


def attach(data: Mapping[str, Any], contents: Mapping[str, bytes]) -> dict[str, object]:
    """`data` with its references replaced by what they stand for.

    Raises:
        ObjectHarmed: an object is missing or its content was changed.
    """
    return {
        name: json.loads(_checked(value[REFERENCE], contents)) if is_reference(value) else value
        for name, value in data.items()
    }


def _checked(name: str, contents: Mapping[str, bytes]) -> bytes:
    content = contents.get(name)
    if content is None or sha256(content).hexdigest() != name:
        raise ObjectHarmed(
            f"The object {name} of an event is {'missing' if content is None else 'not what was stored'}.",
            remedy="Restore the table `objects` from a backup; `muster verify` shows what else is wrong.",
        )
    return content


def by_name(rows: Iterable[tuple[Any, ...]]) -> dict[str, bytes]:
    """Rows of (sha256 as bytes, content) as a mapping for `attach`."""
    return {bytes(name).hex(): bytes(content) for name, content in rows}
