"""The proof that a step has asked for a run with these inputs: an HMAC that only this installation can make."""

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
    """The installation's secret for children: 32 random bytes, made at the first call.

    Only the database holds it; somebody who can read it there could write the log as well.
    """
    return await arun(database, _secret(os.urandom(32)))


def name_of(secret: bytes, run: str, key: str, epoch: int) -> str:
    """The child's run id in Airflow, which follows from the work item, the epoch and the secret."""
    # Not random: a process that asks again after a crash must find the same run. Not plain: a person who may start runs
    # could guess the id and open the child first, with inputs of their own.
    return f"child__{_mac(secret, 'name', [run, key, epoch])[:24]}"


def prove(secret: bytes, run: str, key: str, child: str, inputs: Mapping[str, object]) -> str:
    """The proof that the request `key` of a run has asked for `child` with exactly these inputs.

    Airflow shows the proof, as all of a run's conf, to people who may see the child. They cannot use it: the child's id
    is taken by then, and the proof fits no other id and no other inputs.
    """
    return _mac(secret, "request", [run, key, child, _settled(inputs)])


def digest(proof: str) -> str:
    """The SHA-256 of a proof, which the log keeps: enough to recognise the proof, not to make it."""
    return sha256(proof.encode()).hexdigest()


def is_proven(
    secret: bytes, proof: object, *, kept: str, run: str, key: str, child: str, inputs: Mapping[str, object]
) -> bool:
    """True when the proof fits this request and these inputs, and its digest is the one that the log has kept."""
    made = prove(secret, run, key, child, inputs)
    return isinstance(proof, str) and hmac.compare_digest(proof.encode(), made.encode()) and digest(made) == kept


def _mac(secret: bytes, purpose: str, what: object) -> str:
    return hmac.digest(secret, f"{purpose}\n{canonical(what)}".encode(), sha256).hex()


def _settled(value: object) -> object:
    """The value as it comes back from Airflow's database, where 1e20 is an integer and negative zero does not exist."""
    # The proof is made before that round trip and checked after it: without this, such inputs would never prove.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _settled(inner) for name, inner in value.items()}
    return [_settled(inner) for inner in value] if isinstance(value, list | tuple) else value


def _secret(fresh: bytes) -> Work[bytes]:
    keep = "INSERT INTO installation_secrets (name, value) VALUES (%(name)s, %(value)s) ON CONFLICT DO NOTHING"
    find = "SELECT value FROM installation_secrets WHERE name = %(name)s"
    # Read again after the insert: of two processes that make a secret at once the first one's stays (`DO NOTHING`), and
    # the second must not go on with its own.
    if not (rows := (yield [Query(find, {"name": _NAME})])[0]):
        yield [Query(keep, {"name": _NAME, "value": fresh})]
        rows = (yield [Query(find, {"name": _NAME})])[0]
    return bytes(rows[0][0])
