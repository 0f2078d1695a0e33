"""What stands on a blackboard: nobody overwrites another unseen, and each does only what is declared."""

from __future__ import annotations

import pytest

from coordination.blackboard.conftest import RUN, Open, Plan
from muster.coordination.blackboard import BoardConflict, BoardRefused
from muster.coordination.blackboard.writing import LARGEST
from muster.errors import PermanentError
from muster.redaction import learn


def test_what_is_put_is_there_for_others_with_who_wrote_it(open_board: Open) -> None:
    clerk, editor = open_board("clerk"), open_board("editor")
    assert editor.get("note") is None
    assert clerk.put("note", {"text": "Größe \0 🦀", "n": [1, None]}) == 1
    entry = editor.get("note")
    assert entry is not None
    assert (entry.value, entry.version, entry.writer, entry.kind) == (
        {"text": "Größe \0 🦀", "n": [1, None]}, 1, "clerk", "put",
    )  # fmt: skip
    assert open_board(run="another/run").get("note") is None


def test_null_is_a_value_and_nothing_is_none(open_board: Open) -> None:
    board = open_board()
    board.put("note", None)
    entry = board.get("note")
    assert entry is not None
    assert entry.is_there
    board.remove("note")
    gone = board.get("note")
    assert gone is not None
    assert (gone.is_there, gone.version) == (False, 2)


def test_two_never_overwrite_each_other_unseen(open_board: Open) -> None:
    clerk, editor = open_board("clerk"), open_board("editor")
    clerk.put("note", "mine")
    with pytest.raises(BoardConflict, match=r"clerk has written `note` \(version 1\) and nobody here has looked"):
        editor.put("note", "yours")
    assert editor.get("note").value == "mine"  # type: ignore[union-attr]
    assert clerk.put("note", "mine still") == 2
    with pytest.raises(BoardConflict, match="after version 1") as raised:
        editor.put("note", "yours")
    assert raised.value.version == 2
    editor.get("note")
    assert editor.put("note", "yours") == 3
    assert [entry.value for entry in clerk.history("note")] == ["yours", "mine still", "mine"]
    assert [entry.base for entry in clerk.history("note")] == [2, 1, 0]


def test_the_version_that_is_replaced_can_be_said(open_board: Open) -> None:
    board = open_board()
    assert board.put("count", 1, expected=0) == 1
    with pytest.raises(BoardConflict):
        board.put("count", 2, expected=0)
    with pytest.raises(BoardConflict):
        board.put("count", 2, expected=7)
    assert board.put("count", 2, expected=1) == 2


def test_a_removal_is_a_version_that_has_to_be_seen(open_board: Open) -> None:
    clerk, editor = open_board("clerk"), open_board("editor")
    clerk.put("note", "x")
    editor.get("note")
    clerk.remove("note")
    with pytest.raises(BoardConflict):
        editor.put("note", "y")


async def test_coroutines_do_the_same(open_board: Open) -> None:
    clerk, editor = open_board("clerk"), open_board("editor")
    await clerk.aput("facts", {"a": 1})
    await editor.amerge("facts", {"b": 2})
    assert (await clerk.aget_all())["facts"].value == {"a": 1, "b": 2}
    await editor.amerge("facts", {"b": 3})
    with pytest.raises(BoardConflict):
        await clerk.aput("facts", {})
    await clerk.aget("facts")
    await clerk.aremove("facts")
    assert await editor.aupdate("count", lambda before: (before or 0) + 1) == 1
    assert [entry.kind for entry in await clerk.ahistory("facts")] == ["removal", "merge", "merge", "put"]


def test_fields_that_two_have_changed_are_merged(open_board: Open) -> None:
    clerk, editor = open_board("clerk"), open_board("editor")
    clerk.put("facts", {"city": "Hamburg", "people": 3, "address": {"street": "A", "number": 1}})
    seen = editor.get("facts")
    assert seen is not None
    clerk.get("facts")
    clerk.put("facts", {"city": "Hamburg", "people": 4, "address": {"street": "A", "number": 2}})
    editor.merge("facts", {**seen.value, "city": "Bremen", "address": {"street": "B", "number": 1}})
    assert clerk.get("facts").value == {  # type: ignore[union-attr]
        "city": "Bremen", "people": 4, "address": {"street": "B", "number": 2},
    }  # fmt: skip


def test_a_field_that_both_have_changed_is_a_conflict_that_says_where(open_board: Open) -> None:
    clerk, editor = open_board("clerk"), open_board("editor")
    clerk.merge("facts", {"city": "Hamburg"})
    with pytest.raises(BoardConflict, match="`city`") as raised:
        editor.merge("facts", {"city": "Bremen", "people": 3})
    assert [each.path for each in raised.value.differences] == ["city"]
    assert "Hamburg" not in str(raised.value), "one who may not read it is told of it, not what it is"
    assert editor.get("facts").value == {"city": "Hamburg"}  # type: ignore[union-attr]


def test_a_merge_is_no_look_at_what_others_have_there(open_board: Open) -> None:
    clerk, editor = open_board("clerk"), open_board("editor")
    clerk.put("facts", {"a": 1})
    editor.merge("facts", {"b": 2})
    editor.merge("facts", {"b": 3})
    assert clerk.get("facts").value == {"a": 1, "b": 3}  # type: ignore[union-attr]
    with pytest.raises(BoardConflict):
        editor.put("facts", {"b": 4})
    editor.merge("facts", {})
    assert clerk.get("facts").value == {"a": 1}  # type: ignore[union-attr]


def test_a_merge_that_changes_nothing_writes_nothing(open_board: Open) -> None:
    board = open_board()
    assert [board.merge("facts", {"a": 1}), board.merge("facts", {"a": 1})] == [1, 1]


def test_the_elements_of_a_list_are_merged_by_their_key(open_board: Open) -> None:
    clerk, editor = open_board("clerk"), open_board("editor")
    clerk.merge("note", [{"id": 1, "n": 1}], lists={"": "id"})
    editor.merge("note", [{"id": 2, "n": 1}], lists={"": "id"})
    assert clerk.get("note").value == [{"id": 2, "n": 1}, {"id": 1, "n": 1}]  # type: ignore[union-attr]


def test_what_does_not_fit_its_key_is_refused_with_the_place(open_board: Open) -> None:
    board = open_board()
    with pytest.raises(BoardRefused, match="'many' is not of type 'integer'"):
        board.put("count", "many")
    with pytest.raises(BoardRefused, match="days"):
        board.put("plan", {"goal": "x"})
    board.put("plan", Plan(goal="x", days=2))
    board.remove("plan")
    with pytest.raises(BoardRefused, match="days"):
        open_board("editor").merge("plan", {"goal": "x", "days": "many"})
    with pytest.raises(PermanentError):
        board.put("note", float("nan"))
    with pytest.raises(BoardRefused, match=f"at most {LARGEST:,}"):
        board.put("note", "x" * LARGEST)
    with pytest.raises(BoardRefused, match=r"no key `fact`.*Did you mean `facts`"):
        board.put("fact", {})
    with pytest.raises(BoardRefused, match="no key"):
        board.get("fact")


def test_who_has_no_right_is_refused_and_told_what_to_declare(open_board: Open) -> None:
    open_board("boss").put("note", "secret plan")
    blind = open_board("clerk", reads=frozenset({"facts"}), writes=frozenset({"facts", "count"}))
    declare = r"`note` of the shared context may not be read by step `clerk`\. Let it declare so: `context: \{ reads"
    for read in (blind.get, blind.history, lambda key: blind.watch(key, wait=0)):
        with pytest.raises(BoardRefused, match=declare):
            read("note")
    for write in (blind.put, blind.merge):
        with pytest.raises(BoardRefused, match="may not be written by step `clerk`"):
            write("note", "x")
    with pytest.raises(BoardRefused, match="may not be written"):
        blind.remove("note")
    assert blind.get_all() == {}
    # What it may write and not read it cannot overwrite by chance either.
    open_board("boss").put("count", 1)
    with pytest.raises(BoardConflict):
        blind.put("count", 2)


def test_the_board_of_a_goal_is_there_for_other_runs(open_board: Open) -> None:
    open_board("clerk", run="first/run").put("lessons", ["ask first"])
    entry = open_board("clerk", run="second/run").get("lessons")
    assert entry is not None
    assert (entry.value, entry.run) == (["ask first"], "first/run")
    assert open_board("clerk", run="second/run", goal="peace").get("lessons") is None
    with pytest.raises(BoardRefused, match="belongs to a goal"):
        open_board("clerk", goal=None).get("lessons")


def test_secrets_are_masked_as_in_the_log(open_board: Open) -> None:
    learn("hunter2-hunter2")
    board = open_board()
    board.put("note", "the word is hunter2-hunter2")
    assert "hunter2" not in str(board.get("note"))


def test_hostile_values_are_only_data(open_board: Open) -> None:
    board = open_board()
    for value in ("'; DROP TABLE blackboard; --", {"$personal": "x", "sealed": "y"}, "\ud800", [[[[]]]], "%s", True):
        board.get("note")
        board.put("note", value)
    assert len(board.history("note")) == 6
    assert RUN
