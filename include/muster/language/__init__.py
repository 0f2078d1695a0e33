"""What an automation says: reading YAML, checking it, and the resolved definition that runs."""

from muster.language.definition import Definition, ResolvedStep
from muster.language.expressions import ExpressionError, evaluate
from muster.language.folder import Catalogue, load_folder
from muster.language.problems import LanguageError, Problem

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
