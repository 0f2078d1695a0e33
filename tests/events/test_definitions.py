"""Definitions stay as they were put."""

from __future__ import annotations

from hashlib import sha256

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events.definitions import DefinitionStore
from muster.events.tampering import TamperedLog

TEXT = '{"b": 1.10, "a": ["\\u0000", "ä"]}'
HASH = sha256(TEXT.encode()).hexdigest()


def test_a_definition_comes_back_to_the_byte_in_another_process(database: Database) -> None:
    DefinitionStore(database).put(TEXT, hash=HASH, automation="a")
    assert DefinitionStore(database).get(HASH) == TEXT


def test_putting_again_changes_nothing(database: Database) -> None:
    DefinitionStore(database).put(TEXT, hash=HASH, automation="a")
    DefinitionStore(database).put("{}", hash=HASH, automation="b")
    assert DefinitionStore(database).get(HASH) == TEXT


def test_an_unknown_hash_is_an_error(database: Database) -> None:
    with pytest.raises(MusterError, match="no definition x"):
        DefinitionStore(database).get("x")


async def test_coroutines_put_and_get_and_a_known_definition_needs_no_database(database: Database) -> None:
    store = DefinitionStore(database)
    await store.aput(TEXT, hash=HASH, automation="a")
    assert await DefinitionStore(database).aget(HASH) == TEXT
    await database.aclose()
    store._database = Database("postgresql://127.0.0.1:1/none")
    assert await store.aget(HASH) == TEXT
    assert store.get(HASH) == TEXT


async def test_one_that_was_changed_is_nothing_to_go_by_until_it_is_put_right(database: Database) -> None:
    DefinitionStore(database).put(TEXT, hash=HASH, automation="a")
    with database.connection() as connection:
        connection.execute("UPDATE definitions SET content = replace(content::text, '1.10', '9.10')::json")
    store = DefinitionStore(database)
    for _ in range(2):
        with pytest.raises(TamperedLog, match=f"{HASH} is not as it was written"):
            store.get(HASH)
        with pytest.raises(TamperedLog):
            await store.aget(HASH)
    assert "9.10" in store.as_stored(HASH), "people may look at it"
    with database.connection() as connection:
        connection.execute("UPDATE definitions SET content = %s::text::json", (TEXT,))
    assert store.get(HASH) == TEXT
