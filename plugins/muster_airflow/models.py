"""Model tiers: each is an Airflow connection, opened by the common-ai provider's hook."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from muster_airflow.connections import learn_connection

if TYPE_CHECKING:
    from airflow.sdk.definitions.connection import Connection as ConnectionType
    from pydantic_ai.models import Model

_Opened = dict[str, "asyncio.Task[Model]"]


class ConnectionModels:
    """Opens the model behind a connection id once for each event loop, whose HTTP client it then keeps."""

    def __init__(self) -> None:
        self._opened: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Opened] = weakref.WeakKeyDictionary()

    async def model(self, tier: str) -> Model | None:
        """The model of connection `tier`; None when there is no such connection now, which is asked every time."""
        opened = self._opened.setdefault(asyncio.get_running_loop(), {})
        if tier not in opened:
            connection = await _connection(tier)
            if connection is None:
                return None
            # Many work items may ask at once: they share one opening, and with it one client. Looked at again, because
            # another one may have begun to open the model while this one asked for the connection.
            if tier not in opened:
                opened[tier] = asyncio.create_task(asyncio.to_thread(_open, tier, connection))
        opening = opened[tier]
        try:
            # Shielded: one work item that is cancelled must not cancel the opening for which others wait.
            return await asyncio.shield(opening)
        except Exception:
            # Not kept: the next work item tries to open the model anew, and what it has begun by now stays.
            if opened.get(tier) is opening:
                del opened[tier]
            raise


async def _connection(tier: str) -> ConnectionType | None:
    try:
        connection: ConnectionType = await Connection.async_get(tier)
    except AirflowNotFoundException:
        return None
    learn_connection(connection)
    return connection


def _open(tier: str, connection: ConnectionType) -> Model:
    """The hook's model. Importing the hook takes seconds, which no event loop may stand still for."""
    from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook

    hook = PydanticAIHook(llm_conn_id=tier)
    # get_hook would ask for the connection a second time, from a thread that may not.
    hook._seed_connection(connection)
    return hook.get_conn()
