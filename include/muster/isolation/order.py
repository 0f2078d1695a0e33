"""What the supervisor of a program is told, and what it tells at the end: JSON in the shape of these classes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Order:
    """A program to be run, and where it is ended."""

    program: Sequence[str]
    """Its path, and its arguments."""
    environment: Mapping[str, str]
    folder: str
    """Where it begins."""
    measured: str
    """The folder whose content is counted."""
    readable: Sequence[str] = ()
    writable: Sequence[str] = ()
    guarded: bool = True
    """True: it may use only these files (Landlock)."""
    namespaces: Sequence[str] = ()
    """The words before the program that give it namespaces of its own; empty for none."""
    threads: int = 0
    """Processes and threads that the user may have together with this program; 0 for as many as there may be."""
    contained: bool = False
    """True for the client of a container, which is held to its limits by other means."""
    at_end: Sequence[str] = ()
    """A program that is run when this one has ended, however it did."""
    limits: Mapping[str, int] = field(default_factory=dict)

    def write(self) -> int:
        """A file in memory that holds it, positioned at the beginning: it may name secrets, so no disk has it."""
        return in_memory(json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, number: int) -> Order:
        """The order in the file with this number."""
        os.lseek(number, 0, os.SEEK_SET)
        with os.fdopen(os.dup(number), "rb") as file:
            return cls(**json.load(file))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended, and what it used."""

    code: int | None = None
    """Its exit code; below 0 the number of the signal that killed it. None when it was ended by Muster."""
    limit: str | None = None
    """The limit it was ended at."""
    error: str | None = None
    """Why it could not be started."""
    stopped: bool = False
    """True when it was ended because nobody wanted it any more."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory: int = 0
    processes: int = 0
    disk: int = 0
    files: int = 0

    def as_json(self) -> bytes:
        """One line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Ended:
        """What a supervisor has told."""
        return cls(**said)


def in_memory(content: bytes) -> int:
    """A file without a name that holds this; read from its beginning."""
    number = os.memfd_create("muster", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(number), "wb") as file:
        file.write(content)
    os.lseek(number, 0, os.SEEK_SET)
    return number
