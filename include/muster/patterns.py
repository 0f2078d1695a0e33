"""Regular expressions that are compiled when they are first used."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, cast


class _LazyPattern:
    """Stands for a pattern; a method that is used of it becomes its own, so that later calls cost nothing more."""

    def __init__(self, text: str, flags: int) -> None:
        self._text, self._flags = text, flags

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self._text, self._flags)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._pattern, name)
        setattr(self, name, method)
        return method


def lazy_pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern for a module that many processes import and few look for secrets with: compiling all takes 30 ms.

    A mistake in it is raised at its first use.
    """
    return cast("re.Pattern[str]", _LazyPattern(text, flags))
