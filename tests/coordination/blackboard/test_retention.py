"""What becomes of a board when its run is pruned, or the person it is about is forgotten."""

from __future__ import annotations

import psycopg

from coordination.blackboard.conftest import RUN, Open
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import NewEvent
from muster.events.personal import Vault
from muster.events.sealing import Seals, working_about
from muster.operations.forgetting import forget
from muster.recovery.pruning import prune


def test_the_board_of_a_run_is_pruned_with_it_and_that_of_a_goal_is_kept(
    open_board: Open, database: Database, dsn: str
) -> None:
    board = open_board()
    board.put("note", 1)
    board.put("lessons", ["ask"])
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO runs (id, status, closed_at, calls, cost_usd)"
            " VALUES (%s, 'succeeded', clock_timestamp() - interval '100 days', 0, 0)",
            (RUN,),
        )
    assert prune(database, 90 * 86_400.0, lambda _: False, dry_run=False).runs == 1
    assert set(open_board().get_all()) == {"lessons"}
    assert prune(database, 90 * 86_400.0, lambda _: False, dry_run=False).runs == 0


def test_what_is_about_somebody_is_sealed_and_forgotten_with_them(open_board: Open, database: Database) -> None:
    vault = Vault(lambda: b"m" * 32)
    subject, key = f"{vault.name_id('jane')}.1", b"k" * 32
    with database.connection() as connection:
        connection.execute("INSERT INTO subjects (id, wrapped_key) VALUES (%s, %s)", (subject, key))
    EventLog(database).append(RUN, [NewEvent(type="run.opened", data={"subject": subject})])
    clerk = open_board("clerk", work="team/run/note")
    with working_about(Seals(subject, key, RUN)):
        clerk.merge("facts", {"who": "Jane"})
        open_board("editor").merge("facts", {"state": "ill"})
        clerk.put("lessons", ["Jane is ill"])
        assert clerk.get("facts").value == {"who": "Jane", "state": "ill"}  # type: ignore[union-attr]
    with database.connection() as connection:
        assert "Jane" not in str(connection.execute("SELECT * FROM blackboard").fetchall())
    # Another run about the same person reads what is on the board of the goal, one about nobody does not.
    with working_about(Seals(subject, key, "other/run")):
        other = open_board(run="other/run").get("lessons")
        assert other is not None
        assert other.value == ["Jane is ill"]
    hidden = open_board(run="third/run").get("lessons")
    assert hidden is not None
    assert (hidden.value, hidden.is_readable, hidden.is_there) == (None, False, True)

    forget(database, vault, "jane", by="officer")

    with working_about(Seals(subject, None, RUN)):
        entry = clerk.get("facts")
        assert entry is not None
        assert (entry.value, entry.is_readable, entry.version) == (None, False, 2)
        assert [each.value for each in clerk.history("facts")] == [None, None]
        assert clerk.put("facts", {"who": "Jane again"}) == 3
    with database.connection() as connection:
        assert "Jane" not in str(connection.execute("SELECT * FROM blackboard").fetchall())
