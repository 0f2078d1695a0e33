"""Mailboxes of one run, and time that passes when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydantic import BaseModel

from muster.coordination.messages import Post, Schemas
from muster.database import Database

RUN = "team/run"


class Quote(BaseModel):
    """What a seller says."""

    part: str
    prices: list[int]


@pytest.fixture
def post(database: Database) -> Iterator[Post]:
    made = Post(
        database,
        schemas=Schemas({"quote": Quote, "count": {"type": "object", "properties": {"n": {"type": "integer"}}}}),
    )
    yield made
    made.close()


@pytest.fixture
def time_passes(database: Database) -> Callable[[float], None]:
    """All that is due or expires does so many seconds earlier."""

    def passes(seconds: float) -> None:
        with database.connection() as connection:
            connection.execute(
                "UPDATE messages SET due_at = due_at - make_interval(secs => %(s)s),"
                " expires_at = expires_at - make_interval(secs => %(s)s)",
                {"s": seconds},
            )

    return passes
