"""What a person may type by mistake is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Muster

NO_TEXT = "a\udcffb"
"""How Python gives a byte on the command line that is no UTF-8."""


@pytest.mark.parametrize("minutes", ["nan", "inf", "-inf", "1e300", "-1", "43201"])
def test_a_quiet_time_that_is_none_is_a_usage_error(muster: Muster, project: Path, minutes: str) -> None:
    result = muster("reconcile", "--quiet", minutes)
    assert result.exit_code == 2
    assert "from 0 to 43200 (30 days)" in " ".join(result.stderr.replace("│", " ").split())


def test_forgetting_somebody_whose_name_is_no_text_is_refused(
    muster: Muster, project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    result = muster("forget", NO_TEXT, "--yes")
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    assert "is not text that can be stored or looked for" in result.stderr


@pytest.mark.parametrize(
    "words", [("show", NO_TEXT), ("redrive", NO_TEXT), ("list", "--automation", NO_TEXT), ("discard", NO_TEXT)]
)
def test_dead_letters_whose_name_is_no_text_are_refused(
    muster: Muster, project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    result = muster("dead-letters", *words)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("runs --status foo", "'--status': 'foo' is not one of 'open', 'succeeded', "),
        ("outbox --status foo", "'--status': 'foo' is not one of 'pending', "),
        ("users add ada --role foo", "'--role': 'foo' is not one of 'viewer', "),
        ("runs --limit few", "'--limit': must be a whole number"),
        ("runs --limit 0", "'--limit': must be at least 1"),
        ("dead-letters list --limit 99999", "'--limit': must be at most 10000"),
        ("run a --timeout long", "'--timeout': must be a number"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_in_plain_words(muster: Muster, words: str, said: str) -> None:
    result = muster(*words.split())
    assert result.exit_code == 2
    assert f"Invalid value for {said}" in " ".join(result.stderr.replace("│", " ").split())
