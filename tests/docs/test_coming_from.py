"""The guide for those who know Airflow, dag-factory or Kestra says what lint says, in words that the language has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from muster.cli.app import app
from muster.language.automation import Automation
from muster.language.explain import keys_of
from muster.language.foreign import said_elsewhere
from muster.language.kinds import KINDS
from muster.language.steps import Retry
from support.documents import ROOT, blocks

PAGE = ROOT / "docs" / "coming-from.md"
ROWS = [
    (theirs.strip(), ours.strip())
    for theirs, ours, _ in re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    if "---" not in theirs
]


def quoted(text: str) -> list[str]:
    """The words in backticks."""
    return re.findall(r"`([^`]+)`", text)


def keys(schema: Any) -> Iterator[str]:
    """Every key of the language, from its JSON Schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        for value in schema.values():
            yield from keys(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from keys(value)


KEYS = set(keys(json.loads((ROOT / "docs" / "automation.schema.json").read_text("utf-8"))))


@pytest.mark.parametrize(("theirs", "ours"), ROWS, ids=[theirs for theirs, _ in ROWS])
def test_the_word_for_it_is_one_of_the_language_or_a_command(theirs: str, ours: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for word in quoted(ours):
        if word.startswith("muster "):
            assert word.split()[1] in commands
        elif re.fullmatch(r"\w+", word):
            assert word in KEYS


PLACES = [list(keys_of(model)) for model in (Automation, KINDS["skill"].model, Retry)]
"""The keys that there are where a word may stand: in an automation, a step, or a retry."""
MEANT = [
    (word, said, quoted(ours))
    for theirs, ours in ROWS
    for word in quoted(theirs)
    if (said := [text for known in PLACES if (text := said_elsewhere(word, known)) is not None])
    # What lint says of Kestra's `id` is meant for a flow; of a task it is a key here, too.
    and word not in quoted(ours)
]
"""Words of others that lint knows, with what it says of each and the words of the page."""


@pytest.mark.parametrize(("word", "said", "ours"), MEANT)
def test_lint_says_of_a_word_what_the_page_says(word: str, said: list[str], ours: list[str]) -> None:
    # Of what is to be left out lint names no other word.
    assert any(set(quoted(text)) & set(ours) or "eave it out" in text or "caught up" in text for text in said)


def test_there_are_rows_for_the_words_that_lint_knows_and_an_automation_for_each_tool() -> None:
    assert len(MEANT) > 20
    assert len([block for block in blocks("yaml", mark="automation") if block.page == PAGE]) == 3
