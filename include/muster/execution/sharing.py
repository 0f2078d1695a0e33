"""What a work item has together with others: the shared context, and messages to those who work at the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster.agents.types import resolve
from muster.bounded_cache import BoundedCache
from muster.coordination.blackboard.board import Board
from muster.coordination.blackboard.keys import Key, Keys
from muster.coordination.blackboard.model import Rights, Writer
from muster.coordination.blackboard.relevance import most_relevant
from muster.coordination.blackboard.rows import Reader
from muster.coordination.blackboard.withdrawing import withdraw, withdraw_earlier
from muster.coordination.messages.members import MemberMailbox
from muster.coordination.messages.model import Rules
from muster.coordination.messages.post import Post
from muster.coordination.messages.waking import Address
from muster.errors import PermanentError
from muster.events.canonical import canonical
from muster.events.driver import Work, arun, one_transaction
from muster.events.model import Event, NewEvent
from muster.events.payloads.work import ContextShown
from muster.events.sealing import current_seals, is_forgotten
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.language.definition import Definition
from muster.language.expressions import evaluate
from muster.language.shares import ResolvedShares
from muster.recovery.attempts import Attempt, current_attempt
from muster.recovery.fencing import fenced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muster.skills.registry import SkillContext

NOTHING = ResolvedShares()
LONGEST_GOAL = 200
"""Characters of the name of a goal."""
RULES = Rules(visible_after=300.0)
"""An agent may take minutes to answer what it has received."""
PROMPTED = "shared_context"
"""The name under which an agent is shown it."""

_keys: BoundedCache[tuple[str, Path | None], Keys] = BoundedCache(64)


@dataclass(frozen=True)
class Together:
    """What skills that work for a work item reach by their context; `name` is who they are for others."""

    services: Services
    work_item: WorkItem
    shares: ResolvedShares
    name: str

    def board(self, context: SkillContext) -> Board:
        """The shared context, as the step may read and write it."""
        fence = context.database.fence
        attempt = fence if isinstance(fence, Attempt) else None
        writer = Writer(
            name=self.name,
            work=context.key,
            execution=attempt.execution if attempt else 0,
            attempt=attempt.number if attempt else 0,
            is_later=attempt is not None and (attempt.number > 1 or not self.work_item.first),
        )
        return self._board(context, writer)

    def _board(self, context: SkillContext, writer: Writer) -> Board:
        item, step = self.work_item, self.work_item.step
        rights = Rights(
            reads=frozenset(self.shares.reads), writes=frozenset(self.shares.writes), where=f"step `{step.id}`"
        )
        definition = item.view.definition
        keys = keys_of(definition, self.services.site)
        return Board(context.database, item.view.id, keys, rights, writer, goal=_goal(item))

    def messages(self, context: SkillContext) -> MemberMailbox:
        """The mailbox of whoever does the work."""
        post = Post(context.database, rules=RULES)
        run = self.work_item.view.id
        return MemberMailbox(post, Address(run, self.name), members_of(self.work_item.view.definition), context.key)


def together(
    services: Services, work_item: WorkItem, *, agent: str | None = None, shares: ResolvedShares | None = None
) -> Together:
    """What a work item has together with others, for its agent or else for its step."""
    name = agent or f"step:{work_item.step.id}"
    return Together(services, work_item, shares or work_item.step.context or NOTHING, name)


def members_of(definition: Definition) -> list[str]:
    """Who can be written to in a run: its agents, and its steps as `step:<id>`."""
    return [*definition.agents, *(f"step:{step.id}" for step in definition.steps)]


def keys_of(definition: Definition, site: Path | None) -> Keys:
    """The keys of the shared context, with what may stand under each."""
    name = definition.hash, site
    if (known := _keys.get(name)) is None:
        context = definition.shared_context
        run: Mapping[str, object] = context.run if context else {}
        goal: Mapping[str, object] = context.goal if context else {}

        def key(shape: object, *, of_goal: bool) -> Key:
            schema = shape if isinstance(shape, dict) else resolve(str(shape), site).adapter
            return Key(schema, of_goal)

        known = _keys[name] = Keys(
            {each: key(shape, of_goal=False) for each, shape in run.items()}
            | {each: key(shape, of_goal=True) for each, shape in goal.items()}
        )
    return known


def _goal(work_item: WorkItem) -> str | None:
    definition = work_item.view.definition
    if definition.shared_context is None or definition.shared_context.of is None:
        return None
    known = {"inputs": work_item.view.state.inputs, "settings": definition.settings}
    name = evaluate(definition.shared_context.of, known, where="shared_context, of")
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_GOAL or "\0" in name:
        raise PermanentError(
            f"`of` of the shared context gives no name of a goal, which has 1 to {LONGEST_GOAL} characters.",
            remedy="Mend the expression, or what the run is given.",
        )
    return name.strip()


async def shown_context(
    services: Services, work_item: WorkItem, agent: str, key: str, asked: str, shares: ResolvedShares
) -> list[object]:
    """What an agent is shown of the shared context, the same each time that a conversation goes on.

    The log says what it was, and what there was no room for. With a new conversation, what an earlier execution and its
    tools have written is withdrawn.
    """
    recorded = (await services.log.aunder_keys(work_item.ref.run, [f"{key}/context"])).get(f"{key}/context")
    if recorded is not None and not is_forgotten(recorded.data):
        return list(ContextShown.of(recorded).shown)
    attempt = current_attempt()
    if attempt is not None and (attempt.number > 1 or not work_item.first):
        reader = Reader(current_seals())
        await arun(
            fenced(services.database),
            withdraw_earlier(
                work_item.view.id, work_item.effect_key, attempt.execution, attempt.number, reader, below=True
            ),
        )
    board = _reading(services, work_item, agent, shares)
    chosen = most_relevant((await board.aget_all()).values(), asked, shares.tokens)
    shown: list[object] = [
        {"key": entry.key, "version": entry.version, "written_by": entry.writer, "value": entry.value}
        | ({"rests_on_withdrawn": True} if entry.rests_on_withdrawn else {})
        for entry in chosen.entries
    ]
    said = ContextShown(
        step=work_item.step.id,
        index=work_item.index,
        agent=agent,
        shown=shown,
        versions={entry.key: entry.version for entry in chosen.entries},
        left_out=[vars(left) for left in chosen.left_out],
        tokens=chosen.tokens,
        room=shares.tokens,
    )
    [stored] = await services.log.aappend(work_item.ref.run, [said.event(actor=agent, key=f"{key}/context")])
    return shown if is_forgotten(stored.data) else list(ContextShown.of(stored).shown)


def _reading(services: Services, work_item: WorkItem, agent: str, shares: ResolvedShares) -> Board:
    rights = Rights(reads=frozenset(shares.reads), where=f"step `{work_item.step.id}`")
    keys = keys_of(work_item.view.definition, services.site)
    return Board(services.database, work_item.view.id, keys, rights, Writer(name=agent), goal=_goal(work_item))


def asked_of(ask: str, data: Mapping[str, object]) -> str:
    """The words by which relevance is counted."""
    try:
        return f"{ask} {canonical(dict(data))}"
    except PermanentError:
        return f"{ask} {data!r}"


async def append_withdrawing(services: Services, work_item: WorkItem, events: list[NewEvent]) -> None:
    """Append that a work item is undone, and withdraw what it has written: both in one transaction."""
    run = work_item.view.id
    if work_item.view.definition.shared_context is None:
        await services.log.aappend(run, events)
        return

    def both() -> Work[list[Event]]:
        written = yield from services.log.appending(run, events, None)
        yield from withdraw(run, work_item.effect_key, Reader(current_seals()))
        return written

    await arun(services.log.database, one_transaction(both()))
