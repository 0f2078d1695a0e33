"""What several tests of agents share: a scripted model server, and two tiers that it stands behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.agent_services import OneServer
from support.model_server import ModelServer


@pytest.fixture
def models() -> Iterator[ModelServer]:
    """Answers what the test scripts."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def provider(models: ModelServer) -> OneServer:
    """Both tiers of its agents stand behind one server."""
    return OneServer({"tier": models.url, "top": models.url})
