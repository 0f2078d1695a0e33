"""What a room shows to others from its `__init__`, imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def face(room: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a room (PEP 562): many need one of its names, and none needs all.

    Args:
        places: The module within the room by name.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{places[name]}"), name)

    return get
