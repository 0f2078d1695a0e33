"""Definitions stay as they were put."""

from __future__ import annotations

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events.definitions import DefinitionStore

TEXT = '{"b": 1.10, "a": ["\\u0000", "ä"]}'


def test_a_definition_comes_back_to_the_byte_in_another_process(database: Database) -> None:
    DefinitionStore(database).put(TEXT, hash="h", automation="a")
    assert DefinitionStore(database).get("h") == TEXT


def test_putting_again_changes_nothing(database: Database) -> None:
    DefinitionStore(database).put(TEXT, hash="h", automation="a")
    DefinitionStore(database).put("{}", hash="h", automation="b")
    assert DefinitionStore(database).get("h") == TEXT


def test_an_unknown_hash_is_an_error(database: Database) -> None:
    with pytest.raises(MusterError, match="no definition x"):
        DefinitionStore(database).get("x")


async def test_coroutines_put_and_get_and_a_known_definition_needs_no_database(database: Database) -> None:
    store = DefinitionStore(database)
    await store.aput(TEXT, hash="h", automation="a")
    assert await DefinitionStore(database).aget("h") == TEXT
    await database.aclose()
    store._database = Database("postgresql://127.0.0.1:1/none")
    assert await store.aget("h") == TEXT
    assert store.get("h") == TEXT
