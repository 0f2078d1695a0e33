"""How an agent's work can fail beyond what every room shares."""

from __future__ import annotations

from muster.errors import ErrorClass, PermanentError


class BadOutput(PermanentError):
    """The model kept answering in a way that does not fit what was asked.

    A step with `retry` asks afresh, without waiting; then it goes to its `fallback`.
    """

    usual = ErrorClass.BAD_OUTPUT


class LimitReached(PermanentError):
    """The next request or tool call would pass one of the agent's `limits`, so it was not made."""


class NoModel(PermanentError):
    """The agent has no connected model and no `offline` skill: the step goes to its `fallback`."""
