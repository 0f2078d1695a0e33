"""The folders of a run: the one of its own, and those whose files it may read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from muster.documents import Documents, documents_of
from muster.language.definition import Definition

_READABLE = 150
"""Characters of a run's id in the name of its folder, which a file system allows 255 bytes."""


def readable(definition: Definition, shared: Iterable[Path]) -> Documents:
    """The files that runs of an automation may read besides their own: those it names, and the shared ones.

    Raises:
        PermanentError: a setting that names files is not valid.
    """
    watched = [trigger.folder for trigger in definition.triggers if trigger.folder is not None]
    return documents_of(definition.settings, watched=watched, shared=shared)


def workspace_of(artifacts: Path, run: str) -> Path:
    """The run's own folder under `artifacts`: its name is readable, and no two runs have the same."""
    # The hash keeps names apart that become the same when they are shortened and their special characters replaced.
    name = re.sub(r"[^\w.+-]", "-", run.replace("/", "__"), flags=re.ASCII)[:_READABLE]
    return artifacts / f"{name}~{sha256(run.encode()).hexdigest()[:16]}"


def earlier_workspace_of(artifacts: Path, run: str) -> Path:
    """The run's folder in the naming of earlier releases, in which several runs could have the same."""
    return artifacts / run.replace("/", "__").replace(":", "-")
