"""Text is merged as `git merge-file` does it, and a conflict shows both sides where they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from muster.coordination.merging import Merged, Unmerged, merge_files, merge_text
from support.edited_files import SCENARIOS, EditedFile, edited_files

CASES = int(os.environ.get("MUSTER_TEST_MERGES", "2200"))
"""How many files are edited on two sides; with another number than the suite's, other files each time."""
SEED = 1 if CASES == 2200 else time.time_ns()


def git_merge_file(case: EditedFile, folder: Path) -> bytes | None:
    """What git makes of it; None for a conflict."""
    for name in ("base", "ours", "theirs"):
        (folder / name).write_bytes(getattr(case, name))
    done = subprocess.run(
        ["git", "merge-file", "-p", "-q", "ours", "base", "theirs"],
        cwd=folder,
        capture_output=True,
        check=False,
        env=os.environ | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull},
    )
    assert done.returncode < 128, done.stderr
    return done.stdout if done.returncode == 0 else None


def verdict(case: EditedFile, expected: bytes | None) -> str:
    """How our merge compares with git's."""
    merged = merge_files(case.base, case.ours, case.theirs)
    if isinstance(merged, Unmerged):
        assert merged.differences
        return "conflict, as git" if expected is None else "conflict, git merges"
    if expected is None:
        return "MERGED, git has a conflict"
    return "merged, as git" if merged.value == expected else "MERGED, git merges otherwise"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the oracle")
def test_files_edited_on_two_sides_are_merged_as_git_does(tmp_path: Path) -> None:
    found = Counter[tuple[str, str]]()
    wrong = []
    for case in edited_files(CASES, SEED):
        result = verdict(case, git_merge_file(case, tmp_path))
        found[case.scenario, result] += 1
        if result.startswith("MERGED"):
            wrong.append(f"{result}: case {case.number} of seed {SEED}, {case.scenario}")
    columns = sorted({result for _, result in found})
    print(f"\n{'':34}", *(f"{column:>18}" for column in columns))
    for scenario in SCENARIOS:
        print(f"{scenario:34}", *(f"{found[scenario, column]:>18}" for column in columns))
    assert wrong == []
    assert sum(count for (_, result), count in found.items() if result.endswith("as git")) >= CASES * 0.99
    for scenario in SCENARIOS:
        assert found[scenario, "merged, as git"] > CASES / 100, "the cases are no test of merging"
    assert sum(count for (_, result), count in found.items() if result == "conflict, as git") > CASES / 5


def test_the_cases_are_the_same_each_time_and_hold_what_they_say() -> None:
    cases = list(edited_files(220, 1))
    assert cases == list(edited_files(220, 1))
    contents = [(case.base, case.ours, case.theirs) for case in cases]
    assert any(not base for base, *_ in contents)
    assert any(ours and not ours.endswith(b"\n") for _, ours, _ in contents)
    assert any(0 < ours.count(b"\r\n") < ours.count(b"\n") for _, ours, _ in contents)
    assert any(ours == theirs != base for base, ours, theirs in contents)


BASE = "one\ntwo\nthree\nfour\nfive\n"


def test_edits_that_do_not_touch_are_both_taken() -> None:
    assert merge_text(BASE, BASE.replace("one", "1"), BASE.replace("five", "5")) == Merged("1\ntwo\nthree\nfour\n5\n")


def test_a_conflict_shows_the_lines_of_all_three_and_where_they_are() -> None:
    merged = merge_text(BASE, "zero\n" + BASE.replace("three", "3"), BASE.replace("three", "III").replace("four\n", ""))
    assert isinstance(merged, Unmerged)
    [difference] = merged.differences
    assert (difference.base, difference.ours, difference.theirs) == (
        ("three\n", "four\n"),
        ("3\n", "four\n"),
        ("III\n",),
    )
    assert (difference.path, difference.line, difference.ours_line, difference.theirs_line) == ("lines 3 to 4", 3, 4, 3)
    assert merged.reason == "both sides changed lines 3 to 4"


def test_edits_of_neighbouring_lines_are_a_conflict() -> None:
    assert isinstance(merge_text(BASE, BASE.replace("two", "2"), BASE.replace("three", "3")), Unmerged)


def test_each_of_several_conflicts_is_shown() -> None:
    text = "".join(f"{number}\n" for number in range(40))
    ours, theirs = (text.replace("\n5\n", f"\n5{side}\n").replace("\n30\n", f"\n30{side}\n") for side in "ab")
    merged = merge_text(text, ours, theirs)
    assert isinstance(merged, Unmerged)
    assert [difference.path for difference in merged.differences] == ["line 6", "line 31"]


def test_other_lines_added_at_one_place_are_a_conflict_there() -> None:
    merged = merge_text(BASE, BASE + "ours\n", BASE + "theirs\n")
    assert isinstance(merged, Unmerged)
    [difference] = merged.differences
    assert (difference.base, difference.ours, difference.theirs) == ((), ("ours\n",), ("theirs\n",))
    assert (difference.line, difference.ours_line, difference.theirs_line) == (6, 6, 6)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "text"),
    [
        ("", "", "", ""),
        ("a\n", "", "", ""),
        ("a\n", "", "a\n", ""),
        ("", "a", "a", "a"),
        ("a\r\nb\r\nc\r\nd\r\n", "A\r\nb\r\nc\r\nd\r\n", "a\r\nb\r\nc\r\nD\n", "A\r\nb\r\nc\r\nD\n"),
        ("a\nb\nc\nd", "A\nb\nc\nd", "a\nb\nc\nd\n", "A\nb\nc\nd\n"),
        (
            "a\x0cb\u2028c\rd\n\n\nx\n",
            "a\x0cb\u2028c\rd\n\n\ny\n",
            "a\x0cB\u2028c\rd\n\n\nx\n",
            "a\x0cB\u2028c\rd\n\n\ny\n",
        ),
    ],
)
def test_line_endings_empty_files_and_odd_characters_stay_as_they_are(
    base: str, ours: str, theirs: str, text: str
) -> None:
    assert merge_text(base, ours, theirs) == Merged(text)
    assert merge_text(base, theirs, ours) == Merged(text)


@pytest.mark.parametrize("odd", [b"\0", b"\xff"])
def test_binary_content_that_both_sides_changed_is_a_conflict_in_words(odd: bytes) -> None:
    base, ours, theirs = odd + b"a\nb\nc\n", odd + b"1\nb\nc\n", odd + b"a\nb\n3\n"
    merged = merge_files(base, ours, theirs)
    assert isinstance(merged, Unmerged)
    assert re.search("binary|UTF-8", merged.reason)
    assert merge_files(base, base, theirs) == Merged(theirs)
    assert merge_files(base, ours, ours) == Merged(ours)


@pytest.mark.parametrize("odd", ["\0", "\ud800"])
def test_text_that_no_file_can_hold_is_a_conflict(odd: str) -> None:
    merged = merge_text(f"a\nb\nc\n{odd}", f"1\nb\nc\n{odd}", f"a\nb\n3\n{odd}")
    assert isinstance(merged, Unmerged)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        (None, b"a", b"a", Merged(b"a")),
        (None, b"a", None, Merged(b"a")),
        (b"a", None, None, Merged(None)),
        (b"a", None, b"a", Merged(None)),
        (b"a", None, b"b", Unmerged("one side removed the file and the other one changed it")),
        (None, b"a", b"b", Unmerged("both sides made the file, with different content")),
    ],
)
def test_files_that_are_made_and_removed(
    base: bytes | None, ours: bytes | None, theirs: bytes | None, expected: object
) -> None:
    assert merge_files(base, ours, theirs) == expected


def test_text_that_looks_like_a_conflict_is_text() -> None:
    marked = "<<<<<<< ours\n=======\n>>>>>>> theirs\nkept\nkept too\nlast\n"
    assert merge_text(marked, "first\n" + marked, marked + "end\n") == Merged("first\n" + marked + "end\n")
