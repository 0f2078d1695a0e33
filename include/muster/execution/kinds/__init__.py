"""The kinds of step whose work Muster does itself: one module for each, with its `ACTION`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from muster.execution.action import Action

ACTIONS: dict[str, Action[Any]] = {
    module.name: import_module(f"{__name__}.{module.name}").ACTION for module in iter_modules(__path__)
}
"""The actions by the name of the kind."""
