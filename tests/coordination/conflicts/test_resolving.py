"""A conflict is resolved by the rule for its kind, or handed on with all sides kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from muster.coordination.conflicts import (
    Changes,
    Conflict,
    ConflictKind,
    ConflictSettings,
    Decider,
    HandedOn,
    ResolutionContext,
    Resolved,
    Side,
    detect_conflicts,
    resolve,
    strategies,
)
from muster.coordination.conflicts.strategies import STRATEGIES
from muster.coordination.merging import Ballots
from muster.errors import TransientError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEFAULTS = ConflictSettings()


def conflict(kind: str, *values: object, base: object = None, resource: str = "thing") -> Conflict:
    """A conflict of the agents a, b, c ..., each a minute after the one before."""
    sides = (
        Side(agent, value, NOON + timedelta(minutes=place))
        for place, (agent, value) in enumerate(zip("abcdef", values, strict=False))
    )
    return Conflict(ConflictKind(kind), resource, tuple(sides), base)


def fine(conflict: Conflict, value: object) -> str | None:
    """A check that finds nothing wrong."""
    return None


def bad(conflict: Conflict, value: object) -> str | None:
    """A check that refuses everything."""
    return f"{value} is insecure."


def resolved(result: object) -> Resolved:
    """What was resolved."""
    assert isinstance(result, Resolved)
    return result


def handed_on(result: object) -> HandedOn:
    """What was handed on."""
    assert isinstance(result, HandedOn)
    return result


FILE = b"one\ntwo\nthree\nfour\nfive\n"


def test_files_that_merge_cleanly_are_resolved_and_keep_all_sides() -> None:
    sides = (FILE.replace(b"one", b"1"), FILE.replace(b"three", b"3"), FILE.replace(b"five", b"5"))
    result = resolved(resolve(three := conflict("files", *sides, base=FILE), DEFAULTS))
    assert result.value == b"1\ntwo\n3\nfour\n5\n"
    assert (result.strategy, result.conflict) == ("three_way", three)
    assert result.why == ("`three_way`: no edit of one side touches a different edit of another.",)


def test_files_that_do_not_merge_go_to_a_person_with_the_lines_of_both_sides() -> None:
    two = conflict("files", FILE.replace(b"two", b"2"), FILE.replace(b"two", b"II"), base=FILE)
    result = handed_on(resolve(two, DEFAULTS))
    assert (result.to, result.conflict, result.proposal) == (Decider.HUMAN, two, None)
    [difference] = result.differences
    assert (difference.ours, difference.theirs) == (("2\n",), ("II\n",))
    assert result.why == ("`three_way`: both sides changed line 2.", "`human`: a person decides.")


def test_a_file_that_is_none_goes_to_a_person() -> None:
    assert "no files" in handed_on(resolve(conflict("files", 1, b"x"), DEFAULTS)).why[0]


def test_records_are_merged_field_by_field() -> None:
    result = resolve(conflict("records", {"a": 2, "b": 1}, {"a": 1, "b": 2}, base={"a": 1, "b": 1}), DEFAULTS)
    assert resolved(result).value == {"a": 2, "b": 2}
    assert resolved(resolve(conflict("records", {"a": 1}, {"b": 2}), DEFAULTS)).value == {"a": 1, "b": 2}
    result = handed_on(resolve(conflict("records", {"a": 2}, {"a": 3}, base={"a": 1}), DEFAULTS))
    assert [difference.path for difference in result.differences] == ["a"]


def test_lists_are_merged_by_the_keys_that_the_rule_declares() -> None:
    keyed = ConflictSettings.model_validate({"records": {"strategy": "field_wise", "lists": {"": "id"}}})
    one, other = [{"id": 1, "n": 1}, {"id": 2}], [{"id": 1}, {"id": 2, "n": 2}]
    result = resolve(conflict("records", one, other, base=[{"id": 1}, {"id": 2}]), keyed)
    assert resolved(result).value == [{"id": 1, "n": 1}, {"id": 2, "n": 2}]


def test_of_contracts_the_newest_counts_once_it_is_validated() -> None:
    two = conflict("contracts", "v1", "v2")
    result = resolved(resolve(two, DEFAULTS, ResolutionContext(checks={"contract": fine})))
    assert (result.value, result.strategy) == ("v2", "newest")
    refused = handed_on(resolve(two, DEFAULTS, ResolutionContext(checks={"contract": bad})))
    assert refused.why == (
        "`newest`: the check `contract` refuses it: v2 is insecure.",
        "`human`: a person decides.",
    )


def test_a_check_that_is_not_there_refuses() -> None:
    result = handed_on(resolve(conflict("contracts", "v1", "v2"), DEFAULTS))
    assert "`contract` refuses it: it is not there" in result.why[0]


def test_what_a_check_raises_resolves_nothing() -> None:
    def away(conflict: Conflict, value: object) -> str | None:
        raise TransientError("The scanner is away.")

    with pytest.raises(TransientError):
        resolve(conflict("contracts", "v1", "v2"), DEFAULTS, ResolutionContext(checks={"contract": away}))


def test_of_dependencies_the_highest_compatible_version_counts_after_a_security_scan() -> None:
    context = ResolutionContext(checks={"security_scan": fine}, versions=["1.0", "1.5", "2.0"])
    assert resolved(resolve(conflict("dependencies", ">=1", "<2"), DEFAULTS, context)).value == "1.5"
    assert "none of 3 versions" in handed_on(resolve(conflict("dependencies", ">=2", "<2"), DEFAULTS, context)).why[0]


@pytest.mark.parametrize("count", [1, 4, 5, 6])
def test_names_are_prefixed_and_from_five_on_a_person_approves(count: int) -> None:
    result = resolve(conflict("names", "x", "y", resource="report"), DEFAULTS, ResolutionContext(count=count))
    names = {"a": "a_report", "b": "b_report"}
    if count < 5:
        assert resolved(result).value == names
    else:
        asked = handed_on(result)
        assert asked.to == Decider.HUMAN
        assert resolved(asked.proposal).value == names
        assert str(count) in asked.why[-1]


def test_facts_wait_for_a_quorum_and_go_to_a_person_when_it_does_not_agree() -> None:
    three = conflict("facts", "x", "y", "z")
    assert handed_on(resolve(three, DEFAULTS)).to == Decider.QUORUM
    voted = [
        handed_on(resolve(three, DEFAULTS, ResolutionContext(ballots=Ballots(3, dict(zip("klm", cast, strict=False))))))
        for cast in (["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", None])
    ]
    assert [result.to for result in voted] == [Decider.QUORUM] * 2 + [Decider.HUMAN] * 2
    chosen = resolve(three, DEFAULTS, ResolutionContext(ballots=Ballots(3, {"k": "b", "l": "b"})))
    assert (resolved(chosen).value, resolved(chosen).strategy) == ("y", "quorum")
    stray = resolve(three, DEFAULTS, ResolutionContext(ballots=Ballots(1, {"k": "nobody"})))
    assert "`nobody`, which is no side" in handed_on(stray).why[0]


def test_a_fallback_resolves_what_the_strategy_could_not_and_says_why() -> None:
    settings = ConflictSettings.model_validate({"files": {"strategy": "three_way", "fallback": "newest"}})
    result = resolved(resolve(conflict("files", b"a", b"b", base=b"c"), settings))
    assert (result.value, result.strategy) == (b"b", "newest")
    assert len(result.why) == 2
    settings = ConflictSettings.model_validate({"files": {"strategy": "three_way", "fallback": "judge"}})
    assert handed_on(resolve(conflict("files", b"a", b"b", base=b"c"), settings)).to == Decider.JUDGE


def test_when_neither_finds_a_value_a_person_decides() -> None:
    settings = ConflictSettings.model_validate({"files": {"strategy": "three_way", "fallback": "newest"}})
    sides = (Side("a", b"a"), Side("b", b"b"))
    result = handed_on(resolve(Conflict(ConflictKind.FILES, "f", sides, b"c"), settings))
    assert (result.to, len(result.why), len(result.differences)) == (Decider.HUMAN, 2, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"files": {"strategy": "three_wya"}}, "did you mean `three_way`?"),
        ({"files": {"strategy": "prefix"}}, "`prefix` cannot resolve conflicts of files; three_way, newest"),
        ({"names": {"strategy": "prefix", "fallback": "prefix"}}, "the fallback of `prefix` is the same strategy"),
        ({"files": {"strategy": "three_way", "lists": {"a": "id"}}}, "`lists` says nothing to `three_way`"),
        ({"records": {"strategy": "newest", "votes": 2}}, "`votes` says nothing to `newest`"),
        ({"act_from": 1.5}, "less than or equal to 1"),
        ({"names": {"strategy": "prefix", "person_from": 0}}, "greater than or equal to 1"),
        ({"file": {"strategy": "human"}}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("?", r"\?")):
        ConflictSettings.model_validate(given)


def test_all_kinds_can_be_left_to_a_person_and_the_defaults_are_those_that_are_promised() -> None:
    human = {"strategy": "human"}
    assert ConflictSettings.model_validate(dict.fromkeys(ConflictKind, human) | {"act_from": 1.0})
    assert {kind: (DEFAULTS.rule(kind).strategy, DEFAULTS.rule(kind).fallback) for kind in ConflictKind} == {
        "files": ("three_way", "human"),
        "records": ("field_wise", "human"),
        "contracts": ("newest", "human"),
        "dependencies": ("highest_compatible", "human"),
        "names": ("prefix", "human"),
        "facts": ("quorum", "human"),
    }
    assert DEFAULTS.act_from == 0.7


def test_each_strategy_is_the_module_of_its_name_and_each_kind_has_several() -> None:
    folder = Path(str(strategies.__file__)).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(STRATEGIES)
    for kind in ConflictKind:
        assert sum(kind in strategy.kinds for strategy in STRATEGIES.values()) >= 3


def test_what_several_agents_changed_in_different_ways_is_detected() -> None:
    before = {"same": 1, "both": 1, "one": 1, "gone": 1, "equal": 1}
    found = detect_conflicts(
        ConflictKind.RECORDS,
        before,
        [
            Changes("a", {"same": 1, "both": 2, "one": 2, "gone": None, "equal": 2, "new": {"x": 1}}),
            Changes("b", {"same": 1, "both": 3, "one": 1, "gone": 5, "equal": 2, "new": {"x": True}}, NOON),
            Changes("c", {"both": 2, "own": 1}),
        ],
    )
    assert [(one.resource, one.base) for one in found] == [("both", 1), ("gone", 1), ("new", None)]
    assert found[0].sides == (Side("a", 2), Side("b", 3, NOON), Side("c", 2))
    assert [side.value for side in found[1].sides] == [None, 5]
