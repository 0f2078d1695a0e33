"""What an automation says: reading YAML, checking it, and the resolved definition that runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muster.language.definition import Definition
    from muster.language.expressions import ExpressionError, evaluate
    from muster.language.folder import Catalogue, load_folder
    from muster.language.problems import LanguageError, Problem
    from muster.language.resolved_step import ResolvedStep

__all__ = [
    "Catalogue",
    "Definition",
    "ExpressionError",
    "LanguageError",
    "Problem",
    "ResolvedStep",
    "evaluate",
    "load_folder",
]

_PLACES = {
    "Catalogue": "folder",
    "Definition": "definition",
    "ExpressionError": "expressions",
    "LanguageError": "problems",
    "Problem": "problems",
    "ResolvedStep": "resolved_step",
    "evaluate": "expressions",
    "load_folder": "folder",
}
"""The module of each: imported when it is asked for, since many need one of them and none needs all."""


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
