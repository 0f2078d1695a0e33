"""What a `files` trigger matches: settings are filled in, and what matches nothing is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from muster.language import load_folder
from muster.language.triggers.files import ResolvedFiles
from muster.triggers.arrivals import look

Write = Callable[[str, str], Path]


def automation(write: Write, match: str, *, inbox: str = "/srv/letters") -> None:
    write(
        "automations/a.yaml",
        f"""
        automation: a
        settings: {{kind: '*.pdf', kinds: ['*.pdf', '*.xml']}}
        inputs: {{letters: {{type: array, default: []}}}}
        triggers:
          - files: {{path: {inbox}, match: {match}}}
        steps: [{{id: s, notify: [{{slack: '#x', text: x}}]}}]
        """,
    )


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("'{{ settings.kind }}'", ["a.pdf"]),
        ("['{{ settings.kind }}', 'c.*']", ["a.pdf", "c.txt"]),
        ("'a{{ settings.kind }}'", ["a.pdf"]),
        ("'[ab].*'", ["a.pdf", "b.xml"]),
    ],
)
def test_settings_are_filled_in(site: Path, write: Write, tmp_path: Path, match: str, found: list[str]) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for name in ("a.pdf", "b.xml", "c.txt"):
        (inbox / name).write_text("x")
        os.utime(inbox / name, (1, 1))
    automation(write, match, inbox=str(inbox))
    catalogue = load_folder(site)
    assert catalogue.problems == []
    (trigger,) = catalogue.definitions["a"].triggers
    assert isinstance(trigger, ResolvedFiles)
    assert [one.uri.rpartition("/")[2] for one in look(trigger.path, trigger.match)] == found


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ("'in/*.pdf'", "`in/*.pdf` matches no file: it is the name alone"),
        ("['*', '.*']", "`.*` matches no file: hidden files"),
        ("'*.{pdf,xml}'", "`*.{pdf,xml}` matches no file: braces"),
        ("'*.pdf, *.xml'", "`*.pdf, *.xml` matches no file: a comma"),
        ("[]", "no pattern is named"),
        ("'{{ settings.kinds }}'", "`{{ settings.kinds }}` gives no text"),
        ("''", "`` matches no file: it is empty"),
        ("'{{ settings.kinf }}'", "there is no setting `kinf`"),
    ],
)
def test_what_matches_nothing_is_refused_where_it_stands(site: Path, write: Write, match: str, message: str) -> None:
    automation(write, match)
    (problem,) = load_folder(site).problems
    assert problem.message.startswith(message)
    assert problem.line == 5
