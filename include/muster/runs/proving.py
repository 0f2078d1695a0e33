"""What a run that a step asks for is started with, that nobody else can make: a proof over who asks, and for what."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from hashlib import sha256

from muster.database import Database
from muster.events.canonical import canonical
from muster.events.driver import Query, Work, arun

_NAME = "children"
"""The row of the secret."""


async def secret_of(database: Database) -> bytes:
    """The installation's secret for children: 32 random bytes, made when first asked for.

    It is in the database alone: whoever reads it there could as well write the log. No event, page or conf holds it.
    """
    return await arun(database, _secret(os.urandom(32)))


def name_of(secret: bytes, run: str, key: str, epoch: int) -> str:
    """The child's run id in Airflow: it follows from the work item and the epoch, for whoever has the secret."""
    return f"child__{_mac(secret, 'name', [run, key, epoch])[:24]}"


def prove(secret: bytes, run: str, key: str, child: str, inputs: Mapping[str, object]) -> str:
    """The proof that a request of a run has asked for `child` with exactly these inputs.

    Airflow shows it, as all of a run's conf, to those who may see the child. It is of no use to them: a run of that
    name is there by then, and for another name or other inputs it proves nothing.
    """
    return _mac(secret, "request", [run, key, child, _settled(inputs)])


def digest(proof: str) -> str:
    """What the log keeps of a proof: enough to know it again, not to make it."""
    return sha256(proof.encode()).hexdigest()


def is_proven(
    secret: bytes, proof: object, *, kept: str, run: str, key: str, child: str, inputs: Mapping[str, object]
) -> bool:
    """True when the proof belongs to this request and these inputs, and is the one whose digest the log has kept."""
    made = prove(secret, run, key, child, inputs)
    return isinstance(proof, str) and hmac.compare_digest(proof.encode(), made.encode()) and digest(made) == kept


def _mac(secret: bytes, purpose: str, what: object) -> str:
    return hmac.digest(secret, f"{purpose}\n{canonical(what)}".encode(), sha256).hex()


def _settled(value: object) -> object:
    """As it comes back from Airflow's database, where 1e20 is a whole number and there is no negative zero."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _settled(inner) for name, inner in value.items()}
    return [_settled(inner) for inner in value] if isinstance(value, list | tuple) else value


def _secret(fresh: bytes) -> Work[bytes]:
    keep = "INSERT INTO installation_secrets (name, value) VALUES (%(name)s, %(value)s) ON CONFLICT DO NOTHING"
    find = "SELECT value FROM installation_secrets WHERE name = %(name)s"
    # Of several processes that make one at once, the first one's stands.
    if not (found := (yield [Query(find, {"name": _NAME})])[0]):
        yield [Query(keep, {"name": _NAME, "value": fresh})]
        found = (yield [Query(find, {"name": _NAME})])[0]
    return bytes(found[0][0])
