"""Texts that look like expressions and are none: nothing is put in the place of `${NAME}` or `{ run.id }`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from muster.language.expressions import VARIABLES
from muster.language.problems import Problem
from muster.language.spot import Spot

Shell = Literal["nowhere", "beginning", "anywhere"]
"""Where in a text a variable of the shell is looked for."""

_OURS = rf"(?:(?:{'|'.join(VARIABLES)})(?:\.\w+|\[[^\]{{}}]*\])+|item|index|output)"
"""A path that an expression could be."""
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_DOLLAR = re.compile(r"(?<!\$)\$(?=\{\{)")
_BRACES = re.compile(rf"\$?(?<!\{{)\{{\s*({_OURS})\s*\}}(?!\}})")
_NESTED = re.compile(rf"\{{\{{(?:(?!\}}\}}).)*\{{\{{\s*({_OURS})\s*\}}\}}", re.DOTALL)
_SHELL_ALONE = re.compile(r"^\$(?:\{([A-Za-z_][^{}]*)\}|([A-Z_][A-Z0-9_]+)\b)(?=[\w./-]*$)")
_SHELL = re.compile(r"(?<![\w$\\])\$(?:\{([A-Za-z_][^{}]*)\}|([A-Z_][A-Z0-9_]+)\b)")


def is_whole(text: object) -> bool:
    """True for a text that begins and ends as one expression does, and so is one or is refused where one must stand."""
    return isinstance(text, str) and text.startswith("{{") and text.endswith("}}")


def check_lookalikes(value: object, spot: Spot, *path: str | int, variables: Shell) -> Iterator[Problem]:
    """One problem for each text below a value that was meant as an expression.

    Args:
        variables: Where `$NAME` is looked for. An operator runs commands in which it means something. So may a skill,
            but not with a path that begins with it.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from check_lookalikes(inner, spot, *path, key, variables=variables)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from check_lookalikes(inner, spot, *path, position, variables=variables)
    elif (
        isinstance(value, str) and ("$" in value or "{" in value) and (found := _lookalike(value, variables=variables))
    ):
        at, message, suggestion = found
        yield spot.problem(message, *path, suggestion=suggestion, offset=value.count("\n", 0, at))


def _lookalike(text: str, *, variables: Shell) -> tuple[int, str, str] | None:
    """Where one stands, what is wrong with it, and what to write."""
    if found := _DOLLAR.search(text):
        whole = _EXPRESSION.match(text, found.end())
        shown = whole[0] if whole else "{{ … }}"
        remedy = f"Write `{shown}`; for an amount of dollars put `| money('USD')` into it."
        return found.start(), f"the `$` before `{shown}` stays in the text", remedy
    rest = _EXPRESSION.sub(lambda found: " " * len(found[0]), text)
    if found := _NESTED.search(text):
        remedy = f"Write `{found[1]}` without braces: it stands inside of an expression already."
        return found.start(1), f"`{{{{ {found[1]} }}}}` stands inside of an expression, where it is text", remedy
    if (found := _BRACES.search(rest)) and not (variables == "nowhere" and found[1].isalpha()):
        return found.start(), f"`{found[0]}` is text, and stays as it is", f"Write `{{{{ {found[1]} }}}}`."
    if variables != "nowhere" and (found := (_SHELL if variables == "anywhere" else _SHELL_ALONE).search(rest)):
        name = re.match(r"\w+", found[1] or found[2])
        word = name[0].lower() if name else "name"
        setting = f"Write `{{{{ settings.{word} }}}}`, and the value under `settings`."
        remedy = f"{setting} If it is text: `{{{{ '{found[0]}' }}}}`."
        return found.start(), f"`{found[0]}` is text: nothing is read from the environment", remedy
    return None
