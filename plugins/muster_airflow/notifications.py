"""Notices through Airflow's connections: what every channel of `channels/` needs, and the sender over all of them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from muster.database import Database
from muster.events.sealing import SealsOf
from muster.notifications import NotConfigured, Sender
from muster_airflow.connections import learn_connection


def airflow_sender(database: Database, seals: SealsOf) -> Sender:
    """Sends through this installation's connections, else into the outbox of `database`."""
    # Imported here, because the channels themselves import this module.
    from muster_airflow.channels import channels

    return Sender(database, channels(), seals=seals)


async def find_connection(*ids: str) -> Connection:
    """The first of these connections that exists.

    Raises:
        NotConfigured: none of them exists; the outbox keeps the notice.
    """
    for conn_id in ids:
        try:
            # The sync lookup would block or deadlock the triggerer's event loop.
            connection: Connection = await BaseHook.aget_connection(conn_id)
        except AirflowNotFoundException:
            continue
        learn_connection(connection)
        return connection
    raise NotConfigured(f"there is no connection {ids[-1]!r}.")


def resolved(hook: type[Any], connection: Connection) -> type[Any]:
    """The hook with its connection already looked up, so that it may run in any thread."""
    return type(hook.__name__, (hook,), {"get_connection": classmethod(lambda cls, conn_id: connection)})
