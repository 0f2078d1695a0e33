"""What a process keeps in memory because it never changes: the last so many values."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(OrderedDict[K, V]):
    """At most so many values; the one that was put in first is forgotten. Threads may share it, as they may a dict.

    A cache of `cachetools` may not be shared so: two threads that put something into a full one break it.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        while len(self) > self.most:
            self.popitem(last=False)
