"""Words the language will have and has not yet: refused by name, never ignored."""

from __future__ import annotations

RESERVED_KEYS: dict[str, tuple[str, ...]] = {"automation": (), "step": ("browser",), "trigger": ("webhook",)}
"""Where a word will stand, and the words."""

ALL_RESERVED = frozenset(word for words in RESERVED_KEYS.values() for word in words)
"""All of them."""


def refusal(word: str) -> str:
    """What is said to someone who uses such a word."""
    return f"`{word}` is not available yet"
