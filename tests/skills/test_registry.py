"""Skills are found by name, each site's own apart from every other's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from muster.errors import MusterError, PermanentError
from muster.skills.registry import get_skill

SOURCE = '''
from muster.skills import skill
{before}
@skill("lot.say")
def say() -> str:
    """Says which."""
    return "{text}"
'''


def site(folder: Path, text: str, before: str = "") -> Path:
    """A folder of skills with one file."""
    folder.mkdir(exist_ok=True)
    (folder / "lot.py").write_text(SOURCE.format(text=text, before=before))
    return folder


def said(folder: Path) -> str:
    """What the skill says there."""
    found: str = get_skill("lot.say", folder).function()
    return found


def test_two_versions_of_a_site_are_used_side_by_side(tmp_path: Path) -> None:
    old, new = site(tmp_path / "old", "old"), site(tmp_path / "new", "new")
    assert [said(folder) for folder in (old, new, old, new)] == ["old", "new", "old", "new"]
    assert get_skill("lot.say", old) is get_skill("lot.say", old), "imported once, not at each turn"


def test_a_file_that_changes_is_imported_again(tmp_path: Path) -> None:
    folder = site(tmp_path / "site", "one")
    assert said(folder) == "one"
    site(folder, "two")
    os.utime(folder / "lot.py", ns=(1, 1))
    assert said(folder) == "two"


def test_a_file_that_cannot_be_imported_leaves_what_was_there(tmp_path: Path) -> None:
    good, bad = site(tmp_path / "good", "good"), site(tmp_path / "bad", "bad", before="raise RuntimeError('no')")
    assert said(good) == "good"
    with pytest.raises(RuntimeError, match="no"):
        said(bad)
    assert said(good) == "good"


def test_a_skill_of_one_site_is_not_found_from_another(tmp_path: Path) -> None:
    site(tmp_path / "one", "one")
    said(tmp_path / "one")
    with pytest.raises(MusterError, match=r"no skill named .lot\.say."):
        get_skill("lot.say", tmp_path / "other")


def test_what_an_argument_is_refused_for_is_said_in_the_words_of_its_check(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        """
from typing import Annotated
from pydantic import AfterValidator
from muster.skills import skill

def even(number: int) -> int:
    if number % 2:
        raise ValueError("an odd number")
    return number

@skill("odd.halve")
def halve(number: Annotated[int, AfterValidator(even)]) -> int:
    return number // 2
"""
    )
    with pytest.raises(PermanentError, match="cannot take: number: an odd number"):
        get_skill("odd.halve", tmp_path).arguments({"number": 3})


def test_what_ships_with_muster_is_found_from_everywhere(tmp_path: Path) -> None:
    folder = site(tmp_path / "site", "x", before="import muster.skills.finance")
    said(folder)
    assert get_skill("finance.read_invoice", None).name == "finance.read_invoice"
