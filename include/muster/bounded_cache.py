"""What a process keeps in memory because it never changes: the last so many values."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(OrderedDict[K, V]):
    """At most so many values; the one that was put in first is forgotten. Threads may share it, as they may a dict.

    Threads may not share a cache of `cachetools`: two that put something into a full one break it.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        # Two threads that look at the same moment may both remove one. That forgets one value too many, which costs
        # whoever asks for it a look-up and nothing else.
        while len(self) > self.most:
            self.popitem(last=False)
