"""Adds the modules of `tests/toys` to the rooms they are written for: loaded before anything of Muster (`-p`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

TOYS = Path(__file__).parents[1] / "toys"
ROOMS = {
    "muster.language.kinds": "language",
    "muster.execution.kinds": "execution",
    "muster_airflow.operators.kinds": "operators",
    "muster.language.triggers": "language_triggers",
    "muster.triggers": "triggers",
    "muster_airflow.compiler.triggers": "compiler",
}
"""The folder that adds to a room, by the room's name."""


class Toys(MetaPathFinder):
    """Finds a room as it is, with one more folder of modules."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in ROOMS or (spec := PathFinder.find_spec(name, path)) is None:
            return None
        assert spec.submodule_search_locations is not None
        spec.submodule_search_locations.append(str(TOYS / ROOMS[name]))
        return spec


assert not any(name in sys.modules for name in ROOMS), "what is loaded has looked for its kinds"
sys.meta_path.insert(0, Toys())
