"""The newest, a version that fits all, names of their own, a vote: each chooses, or says why it cannot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from muster.coordination.merging import Ballots, Dated, Merged, Unmerged, highest_compatible, newest, prefixed, vote

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def reason(result: object) -> str:
    """Why nothing was chosen."""
    assert isinstance(result, Unmerged)
    return result.reason


def test_the_newest_value_wins_whatever_the_order_and_the_zone() -> None:
    early, late = Dated("a", NOON), Dated("b", NOON + timedelta(microseconds=1))
    assert newest([early, late]) == newest([late, early]) == Merged("b")


def test_two_values_of_one_time_are_a_conflict_and_one_value_is_none() -> None:
    assert "same time" in reason(newest([Dated(1, NOON), Dated(True, NOON)]))
    assert newest([Dated("a", NOON), Dated("a", NOON), Dated("b", NOON - timedelta(1))]) == Merged("a")


@pytest.mark.parametrize("times", [(NOON, None), (None, None), (NOON, NOON.replace(tzinfo=None)), ()])
def test_without_all_times_nobody_knows_which_is_newer(times: tuple[datetime | None, ...]) -> None:
    assert "nobody knows" in reason(newest([Dated(at, at) for at in times]))


VERSIONS = ["1.0", "1.9", "1.10", "2.0rc1", "2.0", "2.1", "3.0a1", "not a version"]


@pytest.mark.parametrize(
    ("specifiers", "version"),
    [
        ([">=1", "<2"], "1.10"),
        (["~=1.0", ">=1.0,!=1.10"], "1.9"),
        ([">=1", ""], "2.1"),
        (["==2.0rc1", ">=1"], "2.0rc1"),
        (["==2.*"], "2.1"),
        ([">=3.0a1", ">=2"], "3.0a1"),
        ([">2.1", "<4"], "3.0a1"),
    ],
)
def test_the_highest_version_that_satisfies_all_is_chosen(specifiers: list[str], version: str) -> None:
    assert highest_compatible(specifiers, VERSIONS) == Merged(version)
    assert highest_compatible(specifiers[::-1], VERSIONS[::-1]) == Merged(version)


def test_where_none_fits_the_highest_of_each_side_is_said() -> None:
    said = reason(highest_compatible([">=2", "<2", ">=9"], VERSIONS))
    assert said.startswith("none of 7 versions satisfies all sides")
    assert "`>=2` is satisfied by 2.1" in said
    assert "`<2` is satisfied by 1.10" in said
    assert "`>=9` is satisfied by none" in said


def test_without_versions_and_with_an_unknown_specifier_there_is_a_conflict() -> None:
    assert "none of 0 versions" in reason(highest_compatible([">=1"], []))
    assert "^1.2" in reason(highest_compatible([">=1", "^1.2"], VERSIONS))


def test_each_agent_has_a_name_of_its_own() -> None:
    assert prefixed("report", ["clerk", "auditor"]) == Merged({"clerk": "clerk_report", "auditor": "auditor_report"})


def test_a_name_that_is_taken_or_wanted_twice_by_one_agent_is_a_conflict() -> None:
    assert "`clerk_report` is taken" in reason(prefixed("report", ["clerk", "auditor"], {"clerk_report"}))
    assert "one agent" in reason(prefixed("report", ["clerk", "clerk"]))


@pytest.mark.parametrize(
    ("voters", "needed", "cast", "expected"),
    [
        (3, None, "aab", "a"),
        (3, None, "aa", "a"),
        (3, None, "ab", "1 of 3 have not voted yet"),
        (3, None, "ab-", "no option has 2 of 3"),
        (4, None, "aabb", "no option has 3 of 4"),
        (4, 2, "aabb", "a tie"),
        (4, 2, "aab", "1 of 4 have not voted yet"),
        (4, 2, "aab-", "a"),
        (5, 3, "aaab", "a"),
        (5, 2, "--aa-", "a"),
        (3, 1, "---", "no option has 1 of 3 votes: no votes"),
        (3, 3, "aab", "no option has 3 of 3"),
        (5, 3, "---a", "no option has 3 of 5"),
        (3, None, "", "3 of 3 have not voted yet: no votes"),
    ],
)
def test_a_vote_is_over_once_no_ballot_can_change_it(voters: int, needed: int | None, cast: str, expected: str) -> None:
    ballots = {f"agent_{number}": None if option == "-" else option for number, option in enumerate(cast)}
    result = vote(Ballots(voters, ballots), needed)
    if len(expected) == 1:
        assert result == Merged(expected)
    else:
        assert expected in reason(result)
