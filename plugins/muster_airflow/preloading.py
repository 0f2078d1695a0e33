"""Imports what steps use while a triggerer starts, before it forks the process that performs them.

The first steps would otherwise wait for these imports.
"""

from __future__ import annotations

import gc
import logging
import sys
from importlib import import_module

TRIGGERER = "airflow.cli.commands.triggerer_command"
"""What only a process that was started as `airflow triggerer` has imported."""
USED = (
    "muster_airflow.services",
    "muster_airflow.models",
    "muster_airflow.triggers.work",
    "muster_airflow.triggers.children",
    "muster_airflow.triggers.arrivals",
    "muster.execution.performing",
    "muster.saga.unwinding",
    "muster.saga.closing",
    "muster.runs.following",
    "muster.triggers.arrivals",
    "muster.triggers.watching",
    "muster.agents.tiered",
    "muster.agents.tools",
    "pydantic_ai.models.openai",
    "airflow.providers.common.ai.hooks.pydantic_ai",
)
"""What the work in a triggerer imports sooner or later; an agent's first model call takes seconds for it."""

log = logging.getLogger(__name__)


def preload() -> None:
    """Import the modules of `USED` if this process is a triggerer; one that fails is left to the step that needs it."""
    if TRIGGERER not in sys.modules:
        return
    for name in USED:
        try:
            import_module(name)
        except Exception as error:
            log.info("%s was not loaded: %s: %s", name, type(error).__name__, error)
    # Modules never become garbage. Left to the collector, each of its full passes would look through all of them, and
    # hold up every step for 0.1 s.
    gc.collect()
    gc.freeze()
