"""Notices a file soon after it is put into a folder, and wakes whoever is to take it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from muster.files import site_path
from muster.triggers.arrivals import SETTLED_AFTER, Arrival, look

LOOKS = 1.0
"""Seconds between two looks at the time of a folder, which say whether something was put there."""
PATIENCE = 5.0
"""Seconds for which files are waited for that are not settled when somebody was woken for them."""
GIVEN_UP = 2 * PATIENCE
"""Seconds after which whoever was woken for a file that was not settled yet has taken it or given it up."""
TOGETHER = 0.5
"""Seconds between two files that count as put there together."""

Waiting = Callable[[Sequence[Arrival]], Sequence[Arrival]]
"""Returns those of the files that no run was started for."""
Tell = Callable[[str], object]


class FolderWatch:
    """Looks at a folder again and again; a look at one in which nothing was changed costs one call of the system.

    Args:
        path: the folder.
        patterns: of names; a file counts whose name matches one of them.
        every: seconds after which all files are looked at anyhow, and somebody is woken again for those that wait.
            That finds a file that was changed in place, which leaves the folder's own time as it was.
    """

    def __init__(self, path: str, patterns: Sequence[str], every: float) -> None:
        self._path, self._patterns, self._every = path, patterns, every
        self._unchanged_since: int | None = None
        """The folder's own time at the last look, if until it changes there is nothing to wake anybody for."""
        self._looked = self._woke = -float("inf")
        self._seen = frozenset[str]()
        self._offered = frozenset[Arrival]()
        self._told = frozenset[str]()

    def look(self, waiting: Waiting, *, now: float | None = None, tell: Tell = lambda _: None) -> bool:
        """True when somebody is to be woken, who takes the files once they are settled.

        Raises:
            TransientError: the folder cannot be read now; look again later.
            PermanentError: no folder can have this name.
        """
        now = time.time() if now is None else now
        changed = self._changed()
        if changed is not None and changed == self._unchanged_since and now - self._looked < self._every:
            return False
        passed_over: list[str] = []
        found = look(self._path, self._patterns, tell=passed_over.append, also_growing=True)
        new = waiting(found)
        for sentence in passed_over:
            # Found again at every look; named once, and again if it was mended in between.
            if sentence not in self._told:
                tell(sentence)
        self._told, self._looked = frozenset(passed_over), now
        # A folder's time is only so fine: a file that is put there in the moment after this look may not change it.
        is_old = changed is not None and now - changed / 1e9 >= SETTLED_AFTER
        wakes = self._wakes(new, now)
        self._unchanged_since = changed if is_old and self._offered.issuperset(new) else None
        return wakes

    def _wakes(self, new: Sequence[Arrival], now: float) -> bool:
        seen = frozenset(arrival.uri for arrival in new)
        settled = frozenset(arrival for arrival in new if arrival.settles_in(now) <= 0)
        # At the first sight of a file, so that the process that takes it starts while the file settles. Once more when
        # it has settled too late for that process. Then again and again: Airflow may lose a wake-up.
        is_new = bool(seen - self._seen)
        is_late = bool(settled - self._offered) and now - self._woke >= GIVEN_UP
        is_left = bool(settled) and now - self._woke >= self._every
        self._seen = seen
        if wakes := is_new or is_late or is_left:
            self._woke, self._offered = now, settled
        return wakes

    def _changed(self) -> int | None:
        try:
            return site_path(self._path).stat().st_mtime_ns
        except (OSError, ValueError):
            return None  # What is wrong with it the look itself says.


def wait_until_settled(path: str, patterns: Sequence[str], waiting: Waiting) -> None:
    """Return once a file that waits is settled, with those that were put there together with it.

    Returns also when no file is about to settle, and after `PATIENCE` seconds.
    """
    until = time.time() + PATIENCE
    while (now := time.time()) < until:
        found = look(path, patterns, also_growing=True)
        soon = min((due for arrival in found if (due := arrival.settles_in(now)) > 0), default=None)
        if soon is None or (soon > TOGETHER and waiting([each for each in found if each.settles_in(now) <= 0])):
            return
        time.sleep(min(soon, until - now) + 0.01)
