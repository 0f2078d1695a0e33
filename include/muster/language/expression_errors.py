"""The errors of expressions that cannot be evaluated with a run's data."""

from __future__ import annotations

from muster.errors import PermanentError
from muster.language.answers import NeitherTrueNorFalse
from muster.language.forgotten import NothingToDecideBy


class ExpressionError(PermanentError):
    """An expression cannot be evaluated with this run's data; the step fails without another attempt."""

    def __init__(self, message: str, expression: str, where: str | None, *, remedy: str | None = None) -> None:
        shown = expression if len(expression) <= 120 else expression[:119] + "…"
        end = "" if message.endswith(("?", ".")) else "."
        super().__init__(f"{f'{where}: ' if where else ''}`{shown}`: {message}{end}", remedy=remedy)
        self.expression = expression
        """The text as written."""
        self.where = where
        """Which file, step and field it stands in."""


class NeedsForgotten(ExpressionError):
    """An expression needs what was forgotten. Once nobody can read the words of an error, its class says why."""

    repeats_data = False


def error_of(error: NeitherTrueNorFalse, text: str, where: str | None) -> ExpressionError:
    """The error of an expression that asks what is neither true nor false."""
    kind = NeedsForgotten if isinstance(error, NothingToDecideBy) else ExpressionError
    return kind(error.message, text, where, remedy=error.remedy)
