"""What the saga promises, of automations that hypothesis thinks up and plays as a hostile Airflow would."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from muster.database import Database
from muster.events.keys import work_key
from muster.events.log import EventLog
from muster.events.model import Event
from muster.events.replay import replay
from muster.events.state import RunState, fold
from muster.execution.references import WorkRef
from muster.language import load_folder
from muster.language.resolved_step import ResolvedStep
from support.recovery_machines import ANY, WHICH, Machine
from support.saga_processes import DEEDS, SKILLS, Death

Task = tuple[str, int | None]
"""A task of Airflow's: `begin`, `undo <step>`, `close`, or a step, by map index where it is one of several."""

ITEMS = ["x", "y"]
LIVES = 3
"""How often a task is started before Airflow takes it for failed."""
RESTARTS = 2
UNDO = "compensate: {skill: world.undo, retry: {times: 1, delay: 0s}}"
FANS = [f"pack: {pack}{failures}" for pack in ("all", "1") for failures in ("", ", failures: stop", ", failures: undo")]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["undone", "undone", "undone", "plain", "asked", "final"]),
        st.sampled_from([None, None, *FANS]),
        st.sets(st.integers(1, 2), max_size=2),
    ),
    min_size=2,
    max_size=4,
)
"""Of each step: what it is, how it fans out, and how far above it are the steps it comes after."""
MOODS = st.lists(st.sampled_from(["ok", "ok", "ok", "broken", "flaky", "lost", "dies"]), min_size=8, max_size=8)
UNDO_MOODS = st.lists(st.sampled_from(["ok", "ok", "ok", "ok", "broken", "flaky", "dies"]), min_size=8, max_size=8)
DEATHS = st.one_of(st.none(), st.none(), st.builds(Death, st.integers(1, 4), st.booleans()))


def automation(steps: Sequence[tuple[str, str | None, set[int]]]) -> str:
    """The YAML of such steps; what cannot be undone comes after a question to people."""
    lines = []
    for number, (what, fan, above) in enumerate(steps):
        after = sorted({f"s{number - far}" for far in above if far <= number})
        asked = [f"s{n}" for n, step in enumerate(steps[:number]) if step[0] == "asked"]
        if what == "final" and not asked:
            what = "undone"
        if what == "final":
            after = sorted({*after, asked[-1]})
        head = f"id: s{number}, after: [{', '.join(after)}]"
        if what == "asked":
            lines.append(f"  - {{{head}, human: {{ask: Well?, assignees: [boss]}}}}")
            continue
        each = f', each: {ITEMS}, {fan}, with: {{item: "{{{{ item }}}}"}}' if fan else ""
        how = {"undone": f", {UNDO}", "final": ", irreversible: true", "plain": ""}[what]
        lines.append(f"  - {{{head}, skill: world.act, retry: {{times: 1, delay: 0s}}{each}{how}}}")
    return "automation: played\nsteps:\n" + "\n".join(lines)


class SagaMachine(Machine):
    """A run ends well, or undone as a whole and in reverse, or stuck with a person told; never in between."""

    @initialize(steps=STEPS, moods=MOODS, undo_moods=UNDO_MOODS)
    def begin_saga(self, steps: Any, moods: list[str], undo_moods: list[str]) -> None:
        self.sql(DEEDS)
        self.site = tempfile.mkdtemp(prefix="muster-saga-", dir="/tmp")
        include = Path(self.site) / "include"
        for folder in ("automations", "skills", "agents"):
            (include / folder).mkdir(parents=True)
        (include / "skills" / "world.py").write_text(SKILLS)
        (include / "automations" / "played.yaml").write_text(automation(steps))
        catalogue = load_folder(include)
        assert not catalogue.problems, catalogue.problems
        self.definition = catalogue.definitions["played"]
        self.waits, _ = self.ask(0, "saga", "waits", self.definition.canonical_json())
        self.run, self.epoch, self.restarts = f"played/{uuid4().hex}", 0, 0
        self.database = Database(self.processes.dsn)
        self.log = EventLog(self.database)
        self.done: dict[Task, str] = {}
        self.deaths: Counter[Task] = Counter()
        self.give_moods("act", moods)
        self.give_moods("undo", undo_moods)
        opening = (self.site, self.run, self.definition.canonical_json(), {})
        assert self.ask(0, "saga", "open", *opening) == ("succeeded", None)

    def give_moods(self, what: str, moods: list[str]) -> None:
        work_items = [
            work_key(step.id, index)
            for step in self.definition.steps
            for index in ([None] if step.each is None else range(len(ITEMS)))
        ]
        for work_item, mood in zip(work_items, moods, strict=False):
            self.sql("INSERT INTO moods VALUES (%s, %s, %s)", self.run, f"{what} {work_item}", mood)

    # What Airflow does.

    def forward(self) -> Iterator[Task]:
        """The tasks of the steps, in order."""
        for step in self.definition.steps:
            several = step.each is not None and step.pack != "all"
            yield from [(step.id, slot) for slot in range(len(ITEMS))] if several else [(step.id, None)]

    def before(self, task: Task) -> list[Task]:
        """What has to have ended first."""
        name = task[0]
        undoing: list[Task] = [(f"undo {step}", None) for step in self.waits]
        if name == "begin":
            return list(self.forward())
        if name == "close":
            return [("begin", None), *undoing]
        if name.startswith("undo "):
            return [("begin", None), *((f"undo {step}", None) for step in self.waits[name[5:]])]
        after = self.definition.step(name).after
        return [each for each in self.forward() if each[0] in after]

    def ready(self) -> list[Task]:
        """What can be performed now; what nothing will perform any more is given its state on the way."""
        every: list[Task] = [*self.forward(), ("begin", None), *((f"undo {step}", None) for step in self.waits)]
        found = []
        for task in [*every, ("close", None)]:
            if task in self.done or not all(each in self.done for each in self.before(task)):
                continue
            if (fate := self.fate(task)) is None:
                found.append(task)
            else:
                self.done[task] = fate
        return found

    def fate(self, task: Task) -> str | None:
        """What Airflow's trigger rules make of a task without performing it."""
        name, states = task[0], {self.done[each] for each in self.before(task)}
        if name in ("begin", "close"):
            return None
        if name.startswith("undo "):
            if states & {"failed", "upstream_failed"}:
                return "upstream_failed"
            return None if "succeeded" in states else "skipped"
        fanned = any(self.definition.step(before).each is not None for before in self.definition.step(name).after)
        return "upstream_failed" if not fanned and states & {"failed", "upstream_failed"} else None

    def states(self) -> Mapping[str, str]:
        """As `begin` and `close` are given them."""
        names = {task: task[0] if task[1] is None else f"{task[0]}_{task[1]}" for task in self.forward()}
        return {names[task]: self.done[task] for task in names if task in self.done}

    def arguments(self, task: Task, death: Death | None, approved: bool) -> tuple[Any, ...]:
        name, slot = task
        step = name.removeprefix("undo ")
        start = (self.site, WorkRef(run=self.run, step=step, slot=slot, epoch=self.epoch), death)
        if name in ("begin", "close"):
            return (name, *start, self.states())
        if name != step:
            return ("compensate", *start)
        return ("answer", *start, approved) if self.definition.step(step).kind == "human" else ("perform", *start)

    def ended(self, task: Task, status: Any, error: str | None) -> None:
        assert error is None, error
        if status != "died":
            self.done[task] = status
            return
        # Time passes until what it was at is free.
        self.sql("UPDATE effects SET claimed_until = clock_timestamp() WHERE run = %s AND status = 'begun'", self.run)
        self.deaths[task] += 1
        # Who undoes and closes is a coroutine of the triggerer: Airflow starts it again however often it dies.
        if self.deaths[task] >= LIVES and task in self.forward():
            self.done[task] = "failed"

    @rule(number=ANY, which=WHICH, death=DEATHS, approved=st.sampled_from([True, True, False]))
    def perform(self, number: int, which: int, death: Death | None, approved: bool) -> None:
        if ready := self.ready():
            task = ready[number % len(ready)]
            self.ended(task, *self.ask(which, "saga", *self.arguments(task, death, approved)))

    @rule(number=ANY, death=DEATHS)
    def perform_at_once(self, number: int, death: Death | None) -> None:
        """One task, in all processes: the first two do not know yet that Airflow has started another."""
        if ready := [task for task in self.ready() if task[0] != "close"]:
            task = ready[number % len(ready)]
            deaths = [None, None, death]
            answers = self.processes.at_once("saga", lambda which: self.arguments(task, deaths[which], True))
            for answer in answers:
                self.ended(task, *answer)

    @rule(number=ANY)
    def count_as_dead(self, number: int) -> None:
        """Airflow hears nothing of a task and takes it for failed, whether or not it will still be performed."""
        if tasks := [task for task in self.ready() if task in self.forward()]:
            self.done[tasks[number % len(tasks)]] = "failed"

    @rule(number=ANY, which=WHICH, death=DEATHS)
    def perform_what_has_ended(self, number: int, which: int, death: Death | None) -> None:
        """A process that Airflow took for dead goes on; how its task ended stays what Airflow says."""
        if tasks := [task for task in self.forward() if task in self.done]:
            task = tasks[number % len(tasks)]
            _, error = self.ask(which, "saga", *self.arguments(task, death, True))
            assert error is None, error

    @rule(number=ANY)
    def one_that_counts_as_dead_goes_on_while_undoing_begins(self, number: int) -> None:
        dead = [task for task in self.forward() if self.done.get(task) == "failed"]
        if ("begin", None) in self.ready() and dead:
            tasks: list[Task] = [("begin", None), dead[number % len(dead)]]
            for which, task in enumerate(tasks):
                self.processes.send(which, "saga", *self.arguments(task, None, True))
            self.ended(tasks[0], *self.processes.answer(0))
            _, error = self.processes.answer(1)
            assert error is None, error

    @rule(number=ANY)
    def those_that_count_as_dead_go_on_after_undoing_began(self, number: int) -> None:
        if ("begin", None) in self.done or number % 4:
            return
        while dead := [task for task in self.ready() if task in self.forward()]:
            self.done.update(dict.fromkeys(dead, "failed"))
        self.perform(0, 0, None, True)
        for task in list(self.forward()):
            assert self.ask(1, "saga", *self.arguments(task, None, True))[1] is None

    @rule(number=ANY, which=WHICH)
    def it_is_cancelled_between_two_items(self, number: int, which: int) -> None:
        if ("begin", None) in self.done:
            return
        while tasks := [task for task in self.ready() if task in self.forward()]:
            self.perform(number, which, None, True)
            if any(task[1] is not None for task in tasks):
                break
        self.cancel(which)
        for task in [task for task in self.ready() if task in self.forward()]:
            self.ended(task, *self.ask(which, "saga", *self.arguments(task, None, True)))

    @rule(number=ANY, which=WHICH)
    def whatever_would_undo_it_is_broken(self, number: int, which: int) -> None:
        if ("begin", None) in self.done or number % 4:
            return
        self.sql("UPDATE moods SET mood = 'broken' WHERE run = %s AND piece LIKE 'undo %%'", self.run)
        self.perform(0, which, None, True)
        self.cancel(which)
        while self.ready():
            self.perform(0, which, None, True)

    @rule(number=ANY, which=WHICH)
    def it_is_undone_and_done_again(self, number: int, which: int) -> None:
        if ("begin", None) in self.done:
            return
        while ("begin", None) not in self.ready():
            self.perform(0, which, None, True)
        self.cancel(which)
        while self.ready():
            self.perform(0, which, None, True)
        self.restart(number, which, True)
        while self.ready():
            self.perform(0, which, None, True)

    # What people do.

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        under_way = self.state().status == "open" and ("begin", None) not in self.done
        if under_way:
            assert self.ask(which, "saga", "cancel", self.run) == (None, None)
            assert self.state().cancelled_by == "ann"

    @rule(which=WHICH, by_hand=st.booleans())
    def resume(self, which: int, by_hand: bool) -> None:
        if ("close", None) not in self.done or self.state().status != "stuck":
            return
        if by_hand:
            self.undo_by_hand()
        answers = self.processes.at_once("saga", lambda _: ("resume", self.run, by_hand))
        assert sorted(error or "" for _, error in answers) == ["", "AlreadyResumed", "AlreadyResumed"]
        self.sql("UPDATE moods SET mood = 'ok' WHERE run = %s AND piece LIKE 'undo %%'", self.run)
        lost, forward = ("failed", "upstream_failed"), list(self.forward())
        self.again(task for task in self.done if self.done[task] in lost and task not in forward)

    def undo_by_hand(self) -> None:
        """A person undoes outside what undoing has stopped at, before saying so."""
        stuck, deeds = self.state().stuck, self.deeds()
        assert stuck is not None
        work_item = work_key(stuck.step, stuck.index)
        for key in set(deeds["act"]) - set(deeds["undo"]):
            if key.partition("~")[0] == work_item:
                self.sql("INSERT INTO deeds (run, what, key) VALUES (%s, 'undo', %s)", self.run, f"{self.run}/{key}")

    @rule(number=ANY, which=WHICH, mended=st.booleans())
    def restart(self, number: int, which: int, mended: bool) -> None:
        if ("close", None) not in self.done or self.restarts == RESTARTS:
            return
        step = self.definition.steps[number % len(self.definition.steps)].id
        before = self.state().version
        steps, error = self.ask(which, "saga", "restart", self.run, step)
        if error is not None:
            # What is half undone is brought to its end before it is done again.
            assert error in ("PermanentError", "HalfUndone"), error
            assert self.state().version == before, "what is refused changes nothing"
            return
        self.restarts += 1
        results = [self.state().step(each.id) for each in self.definition.steps if each.id not in steps]
        left = [each.id for each in results for work in [each.whole, *each.items.values()] if work.status == "undone"]
        assert not left, "what was undone is done again as well"
        if mended:
            self.sql("UPDATE moods SET mood = 'ok' WHERE run = %s", self.run)
        forward = list(self.forward())
        self.again(task for task in self.done if task not in forward or task[0] in steps)

    def again(self, tasks: Iterable[Task]) -> None:
        """Airflow performs these anew, which is another execution of the run."""
        for task in list(tasks):
            del self.done[task]
        self.epoch += 1
        self.deaths.clear()

    # What has to hold.

    def events(self) -> list[Event]:
        return list(self.log.read(self.run))

    def state(self) -> RunState:
        return fold(self.events())

    def deeds(self) -> Mapping[str, Counter[str]]:
        """How often each execution of each piece was done, and undone."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for what, key in self.sql("SELECT what, key FROM deeds WHERE run = %s", self.run):
            found[what][key.removeprefix(f"{self.run}/")] += 1
        return found

    def later(self, step: str) -> set[str]:
        """Every step that comes after this one."""
        found: set[str] = set()
        for other in self.definition.steps:
            if found.union({step}) & set(other.after):
                found.add(other.id)
        return found

    def undone(self, step: Any) -> bool:
        return self.definition.step(str(step)).compensate is not None

    @invariant()
    def undoing_goes_in_reverse_and_only_over_what_began(self) -> None:
        if not hasattr(self, "log"):
            return
        guarded = any(step.can_be_undone or step.irreversible for step in self.definition.steps)
        begun: set[tuple[str, Any]] = set()
        open_: dict[int, set[tuple[str, Any]]] = {}
        undone: set[tuple[Any, ...]] = set()
        late: set[tuple[Any, ...]] = set()
        is_cancelled = False
        stuck: dict[int, str] = {}
        for event in self.events():
            data, step = event.data, event.data.get("step")
            work_item = (str(step), data.get("index"))
            match event.type:
                case "step.started":
                    assert not is_cancelled, "a cancelled run begins nothing more"
                    if data["epoch"] in open_:
                        late.add((*work_item, data["epoch"]))
                    begun.add(work_item)
                case "step.succeeded" | "step.failed" | "step.retried":
                    # Where nothing can be undone, who comes late does no harm.
                    assert not guarded or (*work_item, data["epoch"]) not in late, (
                        "no step is performed after unwinding began"
                    )
                case "run.cancel_requested" | "run.restarted":
                    is_cancelled = event.type == "run.cancel_requested"
                case "saga.unwinding":
                    open_[data["epoch"]] = {(name, index) for name, all_ in data["pieces"].items() for index in all_}
                case "run.stuck":
                    stuck[data["epoch"]] = str(step)
                case "compensation.started":
                    assert work_item in begun, "nothing is undone that did not begin"
                    assert stuck.get(data["epoch"], step) == step, "once the run is stuck the rest stays as it is"
                    waiting = {p for p in open_[max(open_)] if p[0] in self.later(str(step))}
                    left = {p for p in waiting if not any(u[:2] == p for u in undone)}
                    assert not left, f"{work_item} is undone before {left}, which came after it"
                case "compensation.succeeded":
                    assert (*work_item, data["work_epoch"]) not in undone, "what was done is undone once"
                    undone.add((*work_item, data["work_epoch"]))
        self.no_item_is_done_that_began_after_another_one_had_failed()
        assert all(count == 1 for counts in self.deeds().values() for count in counts.values()), "once, outside as well"

    def no_item_is_done_that_began_after_another_one_had_failed(self) -> None:
        begun: set[tuple[Any, ...]] = set()
        failed: set[tuple[Any, ...]] = set()
        for event in self.events():
            data = event.data
            execution = data.get("step"), data.get("epoch")
            if data.get("index") is None or self.definition.step(data["step"]).failures == "continue":
                continue
            work_item = (*execution, data["index"])
            if event.type == "step.started" and execution not in failed:
                begun.add(work_item)
            elif event.type in ("step.succeeded", "step.failed", "step.retried"):
                assert work_item in begun, f"{work_item} was done, and began after another one had failed"
                if event.type == "step.failed":
                    failed.add(execution)

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        try:
            while ready := self.ready():
                self.ended(ready[0], *self.ask(0, "saga", *self.arguments(ready[0], None, True)))
            self.undoing_goes_in_reverse_and_only_over_what_began()
            self.it_ended_whole()
        finally:
            self.database.close()
            shutil.rmtree(self.site, ignore_errors=True)

    def it_ended_whole(self) -> None:
        """How the run ended says how the world is, and the projections say what the log says."""
        state, deeds = self.state(), self.deeds()
        acted = {key for key in deeds["act"] if self.undone(key.partition("[")[0].partition("~")[0])}
        standing = acted - set(deeds["undo"])
        works = [
            work
            for step in self.definition.steps
            if self.undone(step.id)
            for work in [state.step(step.id).whole, *state.step(step.id).items.values()]
        ]
        assert state.status in ("succeeded", "failed", "compensated", "stuck")
        if state.status == "compensated":
            assert not standing, "what was done is undone"
            assert any(work.status == "undone" for work in works)
            by_hand = sum(bool(event.data.get("by_hand")) for event in self.events() if "step" in event.data)
            assert len(deeds["undo"]) >= sum(work.undone for work in works) - by_hand, "each execution is undone"
        if state.status == "succeeded":
            assert all(work.status != "undone" for work in works)
            done = {work_key(*it) for it in self.work_items() if state.step(it[0]).work(it[1]).status == "succeeded"}
            assert done <= {key.partition("~")[0] for key in standing}, "what counts as done was done, and stands"
        if state.status == "failed":
            assert not standing or not self.must_be_undone(state), "a run that lost a step does not stay half done"
        found = replay(self.database, self.run)
        assert found.differences == [], "the projections say what the log says"
        assert self.log.verify(self.run) is None

    def work_items(self) -> Iterator[tuple[str, int | None]]:
        """Every piece of the steps that can be undone."""
        for step in self.definition.steps:
            if self.undone(step.id):
                yield from [(step.id, index) for index in ([None] if step.each is None else range(len(ITEMS)))]

    def must_be_undone(self, state: RunState) -> bool:
        """True when a whole step failed: single lost items undo nothing, unless the step says so."""
        return any(self.is_lost(step, state) for step in self.definition.steps) or state.cancelled_by is not None

    def is_lost(self, step: ResolvedStep, state: RunState) -> bool:
        result = state.step(step.id)
        if step.failures != "continue" and result.counts["failed"]:
            return step.failures == "undo"
        return result.status == "failed" and not result.counts["set_aside"]
