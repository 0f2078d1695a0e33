"""The application as Airflow's plugin manager holds it: nothing until somebody asks for a page.

Plugins are loaded in every process of Airflow, and only one of them serves pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any

Message = MutableMapping[str, Any]


class LazyApp:
    """An ASGI application that is made with its first request."""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Hand the request to the application."""
        await self._app(scope, receive, send)

    @cached_property
    def _app(self) -> Any:
        from muster_airflow.api.app import create_app

        return create_app()
