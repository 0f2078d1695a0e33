"""What an expression refers to."""

from __future__ import annotations

from typing import NamedTuple


class References(NamedTuple):
    """What a text refers to."""

    variables: frozenset[str] = frozenset()
    """Which of `inputs`, `steps`, `settings`, `run`, `item`, `index`, `output` it uses."""
    steps: frozenset[str] = frozenset()
    """Ids of steps whose output it uses."""
    inputs: frozenset[str] = frozenset()
    """Names of inputs."""
    settings: frozenset[str] = frozenset()
    """Names of settings."""
    run: frozenset[str] = frozenset()
    """Names of values of `run`."""
    inside: frozenset[tuple[str, ...]] = frozenset()
    """Paths inside inputs: `("order", "total")` for `inputs.order.total`."""
    asked: frozenset[tuple[str, ...]] = frozenset()
    """Paths inside inputs that it tests for a value, as `is defined` and `default` do."""
    below: frozenset[tuple[str, ...]] = frozenset()
    """Paths into outputs of steps: `("read", "sender")` for `steps.read.sender`, but those it tests for a value."""
    path: tuple[str, ...] | None = None
    """The names of the path, when the text is nothing but a path such as `{{ steps.read }}`."""
