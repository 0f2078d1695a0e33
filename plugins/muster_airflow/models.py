"""Model tiers: each is an Airflow connection, opened by the common-ai provider's hook."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

if TYPE_CHECKING:
    from pydantic_ai.models import Model


class ConnectionModels:
    """Finds the model behind a connection id, once per process and event loop."""

    def __init__(self) -> None:
        self._models: dict[tuple[int, str], Model | None] = {}

    async def model(self, tier: str) -> Model | None:
        """The model of connection `tier`; None when there is no such connection."""
        key = (id(asyncio.get_running_loop()), tier)
        if key not in self._models:
            self._models[key] = await self._open(tier)
        return self._models[key]

    async def _open(self, tier: str) -> Model | None:
        try:
            connection = await Connection.async_get(tier)
        except AirflowNotFoundException:
            return None
        from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook

        # The hook looks nothing up again: get_hook would ask for the connection a second time.
        hook = PydanticAIHook(llm_conn_id=tier)
        hook._seed_connection(connection)
        return hook.get_conn()
