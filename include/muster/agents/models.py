"""Where models come from: tiers, each the name of a connection that may or may not be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydantic_ai.models import Model


CONNECT_TIMEOUT = 30.0
"""Seconds a client waits for a connection at least."""


class ModelProvider(Protocol):
    """Hands out the model behind a tier."""

    async def model(self, tier: str) -> Model | None:
        """The model of the connection `tier`; None when there is no such connection.

        Asked before every work item. Keep one model per tier and event loop, so that its HTTP
        connections are used again; look a missing one up again, so that a new connection is seen.
        """
        ...


@dataclass(frozen=True)
class Tier:
    """A tier that has a model."""

    name: str
    model: Model

    @property
    def label(self) -> str:
        """How results and messages name it: `<tier>:<model name>`."""
        return f"{self.name}:{self.model.model_name}"


async def connected(tiers: Sequence[str], provider: ModelProvider) -> list[Tier]:
    """The tiers that have a connection, in order of preference."""
    available = []
    for name in tiers:
        if (model := await provider.model(name)) is not None:
            take_over_from(model)
            available.append(Tier(name, model))
    return available


def take_over_from(model: object) -> None:
    """Turn off what a model's SDK client does by itself: retries, and giving up early while connecting.

    A step's own `retry` and the agent's next tier decide what follows a failure. A client that
    quietly waits and asks again would hide both, and pay twice when only its answer was lost.
    A thousand calls that begin together keep the event loop busy for longer than an SDK waits for
    a connection; without more patience it takes its own delay for the server's.
    """
    for inner in getattr(model, "models", None) or ():
        take_over_from(inner)
    client = getattr(model, "client", None)
    if client is None:
        return
    if isinstance(getattr(client, "max_retries", None), int):
        client.max_retries = 0
    timeout = getattr(client, "timeout", None)
    connect = getattr(timeout, "connect", None)
    if timeout is not None and connect is not None and connect < CONNECT_TIMEOUT:
        client.timeout = type(timeout)(
            connect=CONNECT_TIMEOUT, read=timeout.read, write=timeout.write, pool=timeout.pool
        )
