"""What the page about messages shows works."""

from __future__ import annotations

from muster.database import Database
from support.documents import ROOT, blocks


def test_what_the_page_shows_works(dsn: str, database: Database) -> None:
    [shown] = [block for block in blocks("python") if block.page == ROOT / "docs" / "coordination" / "messages.md"]
    exec(compile(shown.text, str(shown), "exec"), {"DSN": dsn})
    with database.connection() as connection:
        assert connection.execute("SELECT text FROM seen").fetchall() == [("the parser is done",)]
