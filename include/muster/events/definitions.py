"""The definitions runs were opened with: a run belongs to the version it started with."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

from muster.database import Database
from muster.errors import MusterError
from muster.events.driver import Query, Work, arun, run
from muster.events.tampering import tampered_definition


class DefinitionGone(MusterError):
    """A run was opened with a definition that the database does not hold any more."""


class DefinitionStore:
    """Resolved definitions by hash, kept for good in the database and cached in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[str, str] = {}
        """By hash; a definition never changes, so neither does an entry."""

    def put(self, content: str, *, hash: str, automation: str) -> None:
        """Keep a definition, given as its canonical JSON; keeping it again changes nothing."""
        run(self._database, self._put(content, hash, automation))

    async def aput(self, content: str, *, hash: str, automation: str) -> None:
        """`put` for coroutines."""
        await arun(self._database, self._put(content, hash, automation))

    def get(self, hash: str) -> str:
        """The definition's JSON, exactly as it was put.

        Raises:
            DefinitionGone: no definition has this hash.
            TamperedLog: what is stored under the hash is not what was put: nobody carries it out.
        """
        cached = self._cache.get(hash)
        return run(self._database, self._get(hash)) if cached is None else cached

    async def aget(self, hash: str) -> str:
        """`get` for coroutines."""
        cached = self._cache.get(hash)
        return await arun(self._database, self._get(hash)) if cached is None else cached

    def reading(self, hash: str) -> Work[str]:
        """`get` as part of other work on the database."""
        cached = self._cache.get(hash)
        return (yield from self._get(hash)) if cached is None else cached

    def as_stored(self, hash: str) -> str:
        """What stands under the hash, whether it fits or not: for screens, on which a harmed run can be looked at.

        Raises:
            DefinitionGone: no definition has this hash.
        """
        return run(self._database, self._as_stored(hash))

    def _put(self, content: str, hash: str, automation: str) -> Work[None]:
        if hash in self._cache:
            return
        yield [
            Query(
                # Of two runs that open at once one insert does nothing: under one hash there is one content.
                "INSERT INTO definitions (hash, automation, content)"
                " VALUES (%(hash)s, %(automation)s, %(content)s::json) ON CONFLICT DO NOTHING",
                {"hash": hash, "automation": automation, "content": content},
            )
        ]
        # Only once it is stored: an entry here keeps `put` from sending it again, also after a failure of the database.
        self._cache[hash] = content

    def _get(self, hash: str) -> Work[str]:
        content = yield from self._as_stored(hash)
        if sha256(content.encode()).hexdigest() != hash:
            raise tampered_definition(hash)
        # Only what fits its hash: what was changed by hand is read anew each time, because a person may put it right.
        self._cache[hash] = content
        return content

    def _as_stored(self, hash: str) -> Work[str]:
        answers = yield [Query("SELECT content::text FROM definitions WHERE hash = %(hash)s", {"hash": hash})]
        if not answers[0]:
            raise DefinitionGone(
                f"There is no definition {hash}.", remedy="Restore the table `definitions` from a backup."
            )
        content: str = answers[0][0][0]
        return content


def harmed(hashes: Collection[str]) -> Query:
    """(hash) of those definitions whose content does not fit; a missing one stops its runs by itself."""
    return Query(
        "SELECT hash FROM unnest(%(hashes)s::text[]) hash JOIN definitions USING (hash)"
        " WHERE encode(sha256(convert_to(content::text, 'UTF8')), 'hex') <> hash",
        {"hashes": list(hashes)},
    )
