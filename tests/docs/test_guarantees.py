"""Every promise in the guide to guarantees is held by a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.mutations import MUTATIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/\S+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_test_that_holds_a_promise_exists(file: str, test: str) -> None:
    assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_promise_names_a_test_and_every_bug_is_listed() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "| ---"))]
    promises = [line for line in rows if "tests/" in line]
    assert len(promises) > 20
    assert len(rows) - len(promises) == len(MUTATIONS) + 1
