"""Patterns are compiled when they are first used."""

from __future__ import annotations

import importlib
import re

import pytest

from muster.patterns import lazy_pattern

HOLDERS = ("secret_words", "secret_names", "secret_shapes", "redaction")


def test_a_pattern_finds_what_it_would_have_found_and_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile = re.compile
    monkeypatch.setattr(re, "compile", lambda text, flags=0: compiled.append(text) or compile(text, flags))
    pattern = lazy_pattern("(?P<letter>[a-c])!", re.IGNORECASE)
    assert compiled == []
    assert [found["letter"] for found in pattern.finditer("a! d! B!")] == ["a", "B"]
    assert pattern.sub("-", "xA!") == "x-"
    assert pattern.fullmatch("a") is None
    assert compiled == ["(?P<letter>[a-c])!"]


@pytest.mark.parametrize("holder", HOLDERS)
def test_there_is_no_mistake_in_a_pattern_that_waits_for_its_use(holder: str) -> None:
    module = importlib.import_module(f"muster.{holder}")
    lazy = [value for value in vars(module).values() if type(value) is type(lazy_pattern(""))]
    assert lazy
    assert all(pattern.pattern for pattern in lazy)
