"""What the agents of a test reach: models on scripted servers, a real log and database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from muster.database import Database
from muster.events.log import EventLog


@dataclass
class OneServer:
    """Models of a scripted server, by tier; a tier that is not named has no connection."""

    urls: dict[str, str]
    _models: dict[str, OpenAIChatModel] = field(default_factory=dict)

    async def model(self, tier: str) -> OpenAIChatModel | None:
        """The tier's model, made once."""
        if tier not in self.urls:
            return None
        if tier not in self._models:
            provider = OpenAIProvider(base_url=self.urls[tier], api_key=f"key-of-{tier}")
            self._models[tier] = OpenAIChatModel(f"{tier}-1", provider=provider)
        return self._models[tier]


@dataclass
class Services:
    """What the agents of a test reach."""

    models: Any
    log: EventLog
    database: Database
    site: Path | None
    folder: Path

    def clock(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    def workspace(self, run: str) -> Path:
        """One folder for every run."""
        return self.folder
