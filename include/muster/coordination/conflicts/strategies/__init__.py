"""The strategies: one module for each, which says in `STRATEGY` all that the rest knows of it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from muster.coordination.conflicts.rule import Strategy

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in sorted(
        (import_module(f"{__name__}.{module.name}").STRATEGY for module in iter_modules(__path__)),
        key=lambda strategy: strategy.place,
    )
}
"""The strategies by name, in their order."""
