"""What an automation says: reading YAML, checking it, and the resolved definition that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.faces import face

if TYPE_CHECKING:
    from muster.language.definition import Definition
    from muster.language.expression_errors import ExpressionError
    from muster.language.expressions import evaluate
    from muster.language.folder import Catalogue, load_folder
    from muster.language.kinds import KINDS
    from muster.language.problems import LanguageError, Problem
    from muster.language.resolved_step import ResolvedStep

__all__ = [
    "KINDS",
    "Catalogue",
    "Definition",
    "ExpressionError",
    "LanguageError",
    "Problem",
    "ResolvedStep",
    "evaluate",
    "load_folder",
]

__getattr__ = face(
    __name__,
    {
        "Catalogue": "folder",
        "Definition": "definition",
        "ExpressionError": "expression_errors",
        "KINDS": "kinds",
        "LanguageError": "problems",
        "Problem": "problems",
        "ResolvedStep": "resolved_step",
        "evaluate": "expressions",
        "load_folder": "folder",
    },
)
