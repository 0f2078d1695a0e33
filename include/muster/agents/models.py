"""Where models come from: tiers, each the name of a connection that may or may not be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pydantic_ai.models import Model


class ModelProvider(Protocol):
    """Hands out the model behind a tier."""

    async def model(self, tier: str) -> Model | None:
        """The model of the connection `tier`; None when there is no such connection.

        Asked before every piece of work. Keep one model per tier and event loop, so that its HTTP
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
    found = []
    for name in tiers:
        if (model := await provider.model(name)) is not None:
            leave_retries_to_us(model)
            found.append(Tier(name, model))
    return found


def leave_retries_to_us(model: Any) -> None:
    """Turn off the retries inside a model's SDK client.

    A step's own `retry` and the agent's next tier decide what follows a failure. A client that
    quietly waits and asks again would hide both, and pay twice when only its answer was lost.
    """
    for inner in getattr(model, "models", None) or ():
        leave_retries_to_us(inner)
    client = getattr(model, "client", None)
    if client is not None and isinstance(getattr(client, "max_retries", None), int):
        client.max_retries = 0
