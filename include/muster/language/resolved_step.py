"""A step of a definition: what every kind has. A kind adds what only it has in a class of its own in `kinds/`."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from muster.errors import PermanentError
from muster.language.resolved import Resolved, ResolvedCompensation, ResolvedFallback, ResolvedRetry
from muster.language.shares import ResolvedShares
from muster.skills.index import Lane

if TYPE_CHECKING:
    from muster.coordination.plans import Plan, Task

Failures = Literal["stop", "undo", "continue"]
"""What an item of a list that fails for good means for the others."""


class ResolvedStep(Resolved, ABC):
    """A step with everything filled in that the file left to defaults. Expressions stay as written."""

    done_by: ClassVar[Literal["muster", "people", "airflow", "runs"]] = "muster"
    """Who does its work: `execution/kinds` in either lane, a person who approves or rejects, an operator of Airflow's,
    or runs of other automations. Follows from it: how long it may be silent, and that runs undo themselves."""
    chooses: ClassVar[bool] = False
    """True when its output names those of the steps after it that go ahead."""
    is_harmless: ClassVar[bool] = False
    """True when its failure undoes nothing."""
    pulls: ClassVar[bool] = False
    """True when its task instances take work items as they come, in place of a fixed share of them each."""
    plain_output: ClassVar[frozenset[str]] = frozenset()
    """Fields of its output that are not sealed in a run about a person: later steps decide by them, also when the rest
    has been forgotten."""

    id: str
    kind: str
    title: str
    after: tuple[str, ...]
    """The steps it waits for; empty for a step that begins right after `open`."""
    when: bool | str | None = None
    each: list[object] | str | None = None
    pack: int | Literal["all"] | None = None
    failures: Failures = "continue"
    lane: Lane
    priority: int | None = None
    pool: str | None = None
    retry: ResolvedRetry = ResolvedRetry()
    timeout: float | None = None
    """Seconds one attempt may take."""
    lock: tuple[str, ...] = ()
    """Names, or expressions that give them, of the leases it is done under."""
    fallback: ResolvedFallback | None = None
    compensate: ResolvedCompensation | None = None
    irreversible: bool = False
    context: ResolvedShares | None = None
    """What it reads and writes of the shared context."""
    references: tuple[str, ...] = ()
    """Ids of the steps its expressions use, sorted."""
    when_references: tuple[str, ...] = ()
    """Ids of the steps its `when` uses, sorted."""
    aligned_to: str | None = None
    """In a fan-out: the first step that fans out over the same list. Position n of both is the same item."""

    @property
    def agents(self) -> Sequence[str]:
        """Ids of the agents that may do it, first the one that is asked first."""
        return ()

    @property
    def conditions(self) -> Sequence[bool | str]:
        """The conditions by which it chooses which steps go ahead; empty when it chooses none."""
        return ()

    @property
    def asks(self) -> bool:
        """True when a person approves or rejects."""
        return self.done_by == "people"

    @property
    def is_mapped(self) -> bool:
        """True when Airflow has a task instance for each item or pack; a fan-out in one pack is one ordinary task."""
        return self.each is not None and self.pack != "all"

    @property
    def is_shared(self) -> bool:
        """True when each of its task instances may work on any item, so that only all of them together do one again."""
        return self.pulls or self.pack == "all"

    @property
    def pack_size(self) -> int:
        """How many items one of its task instances works on."""
        return self.pack if isinstance(self.pack, int) else 1

    def places(self, variables: Mapping[str, object]) -> int:
        """How many of its work items are done side by side at most, where its task instances pull them.

        Raises:
            PermanentError: what was written gives no number that it can be.
        """
        return 1

    @property
    def grows(self) -> bool:
        """True when an item may add others to the list, by what it gives."""
        return False

    def added(
        self, plan: Plan, position: int, output: object, chain: Sequence[str], able: Mapping[str, Collection[str]]
    ) -> Sequence[Task]:
        """The items that come to the list because of what one of them gave.

        Args:
            chain: The agents that did the item, the one that has added it, and so on.
            able: The skills of each agent that may do some, by its id.

        Raises:
            PermanentError: an agent asks for something that cannot be done, or may not; it says all that is wrong.
        """
        return ()

    def of_slot(self, positions: Sequence[int], slot: int) -> Sequence[int]:
        """The positions that the task instance with map index `slot` may work on; `positions` are all with work."""
        if self.pulls:
            return positions
        return positions[slot * self.pack_size : (slot + 1) * self.pack_size]

    def listed(self, value: object) -> Sequence[object]:
        """The items of the list that `each` gave.

        Raises:
            PermanentError: it is no list.
        """
        if not isinstance(value, list | tuple):
            raise PermanentError(
                f"`each` of step {self.id} gave {type(value).__name__}, not a list.",
                remedy="Make the expression yield a list.",
            )
        return list(value)

    def names_of(self, items: Sequence[object]) -> list[str | None] | None:
        """The names by which `steps.<id>` has what came of the items; None where it is a list."""
        return None

    def depths_of(self, items: Sequence[object]) -> Sequence[int]:
        """For each item how many were done one after the other before it, because it waited for them."""
        return [0] * len(items)

    @property
    def can_be_undone(self) -> bool:
        """True when it says what undoes it, or starts runs, which say so themselves."""
        return self.compensate is not None or self.done_by == "runs"
