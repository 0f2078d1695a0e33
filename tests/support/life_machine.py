"""Plays lives of runs: executions that may die at any write, and what people order between them.

Nothing is performed but what Airflow would perform: the tasks that an order names, by slot or whole, where the trigger
rules of the tasks before them let them.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from muster.approvals import asking
from muster.errors import PermanentError
from muster.events.rebuild import rebuild
from muster.events.replay import replay
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.run_executions import begin_epoch
from muster.execution.work_item import WorkItem
from muster.language.definition import Definition
from muster.operations.redoing import Plan, order, plan_discard, plan_redrive, plan_restart
from muster.recovery.dead_letters import DeadLetter, DeadLetters, Filter
from support.life_airflow import Airflow, Death, Died, MortalLog
from support.life_judge import Judge
from support.life_shapes import SKILLS, Form
from support.restart_machine import LISTS
from support.runs import Site


@dataclass(frozen=True)
class Weather:
    """What one execution meets."""

    names: str = "same"
    """Of `LISTS`: what the list holds when it is asked."""
    aside: tuple[str, ...] = ()
    """`<step>.<name>`."""
    broken: tuple[str, ...] = ()
    rejected: str = ""
    dies: Death | None = None


@dataclass(frozen=True)
class Restart:
    """From a step on."""

    step: str
    weather: Weather = Weather()


@dataclass(frozen=True)
class Redrive:
    """Of the dead letters there are, those with these numbers."""

    letters: tuple[int, ...]
    weather: Weather = Weather()


@dataclass(frozen=True)
class Clear:
    """By hand, in Airflow, with what comes after it: a step, or one of its task instances."""

    step: str
    slot: int | None = None
    weather: Weather = Weather()


@dataclass(frozen=True)
class Discard:
    """One dead letter."""

    letter: int


Order = Restart | Redrive | Clear | Discard


@dataclass(frozen=True)
class Life:
    """A run: what it is, its first execution, and what people order after that."""

    form: Form
    first: Weather = Weather()
    later: tuple[Order, ...] = ()


class Player:
    """Plays lives on one site; `folder` is where the files are."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site, self._folder = site, folder
        self._definitions: dict[Form, Definition] = {}
        site.skills("life", SKILLS)

    def play(self, life: Life) -> list[str]:
        """What was wrong with a life; all that happened is in it then."""
        if life.form not in self._definitions:
            self._definitions[life.form] = self._site.definition(life.form.source())
        return Living(self._site, self._folder, self._definitions[life.form], life).live()


@dataclass
class Living:
    """One run while it lives."""

    site: Site
    folder: Path
    definition: Definition
    life: Life
    said: list[str] = field(default_factory=list)
    """All that happened, for people."""

    def __post_init__(self) -> None:
        self.services = self.site.services
        self.judge, self.airflow = Judge(self.life.form), Airflow(self.definition)
        self.heard, self.numbers = 0, itertools.count(1)
        self.run = ""

    @property
    def wrong(self) -> list[str]:
        """What was wrong so far."""
        return self.judge.wrong

    def live(self) -> list[str]:
        """All of it; and in the end it comes through, when everything works."""
        (self.folder / "calls").write_text("")
        self.run = self.site.open(self.definition, folder=str(self.folder))
        self.airflow.clear(self.airflow.tasks())
        self._execute(self.life.first, 0, frozenset())
        for each in self.life.later:
            if not self.wrong:
                self._ordered(each)
        self._comes_through()
        return [*self.wrong, *self.said] if self.wrong else []

    # What people order.

    def _ordered(self, each: Order) -> bool:
        """Do as people say; False when that is refused, or there is nothing of the kind."""
        if isinstance(each, Restart):
            return self._restarted(each.step, each.weather)
        if isinstance(each, Clear):
            return self._cleared(each)
        letters = self._letters()
        if isinstance(each, Discard):
            return bool(letters) and self._discarded(letters[each.letter % len(letters)])
        chosen = sorted({number % len(letters) for number in each.letters if letters})
        return bool(chosen) and self._redriven([letters[number] for number in chosen], each.weather)

    def _restarted(self, step: str, weather: Weather) -> bool:
        try:
            plan = plan_restart(self.services.log, self.services.definitions, self.run, step, by="ann")
            order(self.services.log, plan)
        except PermanentError as error:
            self.said.append(f"restart from {step}: refused: {error}")
            return False
        self.said.append(f"restart from {step}: {plan.steps}, {weather}")
        if left := {step, *self.judge.after(step)}.difference(plan.steps):
            self.wrong.append(f"a restart from {step} leaves out {left}")
        self.judge.restarted(plan.steps)
        self._executed(plan, weather)
        return True

    def _redriven(self, letters: Sequence[DeadLetter], weather: Weather) -> bool:
        work_items = _work_items(letters)
        try:
            plan = plan_redrive(self.services.log, self.services.definitions, self.run, work_items, by="ann")
            order(self.services.log, plan)
        except PermanentError as error:
            self.said.append(f"redrive of {work_items}: refused: {error}")
            return False
        self.said.append(f"redrive of {work_items}: {plan.steps} {plan.slots}, {weather}")
        self.judge.redriven(work_items)
        self._executed(plan, weather)
        return True

    def _cleared(self, each: Clear) -> bool:
        step = self.definition.step(each.step)
        after = set(self.judge.after(step.id))
        tasks: list[str | tuple[str, int]] = [t for t in self.airflow.tasks() if t.removesuffix(".items") in after]
        indices = None
        if each.slot is None or not step.is_mapped:
            tasks += [task for task in self.airflow.tasks() if task.removesuffix(".items") == step.id]
        else:
            slots = self.airflow.slots.get(step.id, 0)
            if not slots or self.airflow.states[f"{step.id}.items"] != "success":
                return False
            slot, size = each.slot % slots, step.pack if isinstance(step.pack, int) else 1
            tasks.append((step.id, slot))
            indices = self.site.state(self.run).step(step.id).indices[slot * size : (slot + 1) * size]
        self.said.append(f"cleared by hand: {tasks}, {each.weather}")
        self.judge.cleared(step.id, indices)
        self.airflow.clear(tasks)
        dies = each.weather.dies
        # The log cannot tell what was cleared: until the end, an earlier outcome of what dies so early stands.
        self._begins(replace(each.weather, dies=None) if dies and dies.moment in ("layout", "begin") else each.weather)
        return True

    def _discarded(self, letter: DeadLetter) -> bool:
        work_items = _work_items([letter])
        try:
            order(self.services.log, plan_discard(self.services.log, self.run, work_items, by="ann", reason="enough"))
        except PermanentError as error:
            self.wrong.append(f"a dead letter cannot be discarded: {error}")
            return False
        self.said.append(f"discarded: {letter.id}")
        with suppress(PermanentError):
            plan_redrive(self.services.log, self.services.definitions, self.run, work_items, by="ann")
            self.wrong.append("what was discarded can be redriven")
        return True

    def _letters(self) -> list[DeadLetter]:
        found = DeadLetters(self.services.database).waiting(Filter(run=self.run, set_aside=True), limit=50)
        return sorted((letter for letter in found if letter.step is not None), key=lambda letter: letter.id)

    # What happens then.

    def _executed(self, plan: Plan, weather: Weather) -> None:
        tasks = plan.tasks([*self.airflow.tasks(), "unwind.begin", "close"])
        self.airflow.clear(task for task in tasks if task not in ("unwind.begin", "close"))
        self._begins(weather)

    def _begins(self, weather: Weather) -> None:
        number = next(self.numbers)
        epoch = self.site.do(begin_epoch(self.services, self.run, f"begun/{number}", f"later {number}"))
        self._execute(weather, epoch.number, epoch.preserved_steps)

    def _execute(self, weather: Weather, epoch: int, stands: Collection[str]) -> None:
        """The tasks that are to be performed in order, undoing, and the end."""
        (self.folder / "names").write_text(LISTS[weather.names])
        (self.folder / "aside").write_text("\n".join(weather.aside))
        (self.folder / "broken").write_text("\n".join(weather.broken))
        dies, airflow = weather.dies, self.airflow
        for step in self.definition.steps:
            ref = WorkRef(run=self.run, step=step.id, epoch=epoch, is_preserved=step.id in stands)
            first = f"{step.id}.items" if step.is_mapped else step.id
            if airflow.states[first] is None:
                if not airflow.may(step):
                    airflow.states[first] = "upstream_failed"
                elif self._performed(first, ref, weather, dies):
                    dies = None
            for slot in airflow.waiting(step.id) if step.is_mapped else ():
                if self._performed(f"{step.id}_{slot}", replace(ref, slot=slot), weather, dies):
                    dies = None
        tasks = {key: state for key, state in airflow.states.items() if state is not None}
        self.site.unwind(self.run, tasks, epoch=epoch)
        self.site.close(self.run, tasks, epoch=epoch)
        self._hears()
        state = self.site.state(self.run)
        self.said.append(f"{state.status}: {state.reason}")
        self.judge.ends(state.status, state.reason)
        self._rests(state.status)

    def _performed(self, task: str, ref: WorkRef, weather: Weather, dies: Death | None) -> bool:
        """Perform one task instance; true when it died."""
        log = MortalLog(self.site, dies) if dies is not None and dies.step == ref.step else None
        if log is not None:
            self.site.services = replace(self.services, log=log)
        try:
            if task.endswith(".items"):
                self.airflow.expands(ref.step, self.site.expand(self.run, ref.step, epoch=ref.epoch))
                ended = "success"
            elif self.definition.step(ref.step).kind == "human":
                ended = self.site.do(self._asked(ref, weather.rejected))
            else:
                ended = self.site.step(
                    self.run, ref.step, ref.slot, epoch=ref.epoch, is_preserved=ref.is_preserved
                ).status
        except (Died, PermanentError) as error:
            ended = "failed"
            self.said.append(f"{task}: {error!r}")
        finally:
            self.site.services = self.services
        self.airflow.states[task] = "failed" if ended == "failed" else "success"
        for place in self._hears():
            if log is not None and log.died and place not in log.ended:
                self.judge.is_lost(place)
        return log is not None and log.died

    async def _asked(self, ref: WorkRef, rejected: str) -> str:
        services = self.site.services
        work_item = await begin(services, ref)
        if not isinstance(work_item, WorkItem):
            return work_item.status
        of = [work_item.variables["item"]] if work_item.index is not None else []
        approved = str(of[0] if of else ref.step).split(".")[0] != rejected
        await asking.request(services, work_item)
        call = {"number": self.heard + 1, "step": ref.step, "index": work_item.index, "of": of, "gave": None}
        with (self.folder / "calls").open("a") as file:
            file.write(json.dumps({**call, "how": "ok" if approved else "rejected"}) + "\n")
        await asking.answer(services, work_item, approved=approved, by="lead")
        return "succeeded"

    def _hears(self) -> list[tuple[str, int | None]]:
        """Tell the judge what was called since; the places."""
        calls = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()[self.heard :]]
        self.heard += len(calls)
        for call in calls:
            self.said.append(f"  {call['step']}[{call['index']}] {call['how']} of {call['of']} gave {call['gave']}")
            self.judge.hears(call)
        return [(call["step"], call["index"]) for call in calls]

    # What has to hold whenever a run rests.

    def _rests(self, status: str) -> None:
        before = self._rows()
        if differences := replay(self.services.database, self.run).differences:
            self.wrong.append(f"the projections do not say what the log says: {differences}")
        rebuild(self.services.database, self.run)
        if self._rows() != before:
            self.wrong.append("made anew, the projections say something else")
        ways = {step.id: self._way_on(step.id) for step in self.definition.steps}
        if not any(way is None for way in ways.values()):
            self.wrong.append(f"it can be restarted from nowhere: {ways}")
        self.wrong.extend(
            f"restart from {step} leads in circles: {why}" for step, why in ways.items() if why is not None
        )
        for letter in self._letters():
            try:
                plan_redrive(self.services.log, self.services.definitions, self.run, _work_items([letter]), by="ann")
            except PermanentError as error:
                named = re.search(r"--from (\w+)", str(error.remedy))
                if named is None or (named[1] != "STEP" and self._way_on(named[1]) is not None):
                    self.wrong.append(f"{letter.id} is a dead letter and leads nowhere: {error}")

    def _way_on(self, step: str) -> str | None:
        """None when a restart from a step is accepted, or from where the refusal says; else the last refusal."""
        for _ in self.definition.steps:
            try:
                plan_restart(self.services.log, self.services.definitions, self.run, step, by="ann")
            except PermanentError as error:
                said, named = str(error), re.search(r"--from (\w+)", str(error.remedy))
                if named is None:
                    return said
                step = named[1]
            else:
                return None
        return said

    def _rows(self) -> list[Any]:
        with self.services.database.connection() as connection:
            return [
                connection.execute(query, (self.run,)).fetchall()
                for query in (
                    "SELECT * FROM runs WHERE id = %s",
                    "SELECT * FROM steps WHERE run = %s ORDER BY step, index",
                )
            ]

    def _comes_through(self) -> None:
        """When everything works, dead letters and then restarts from the beginnings have it succeed."""
        weather = Weather(names=self._names())
        letters = [letter for letter in self._letters() if letter.status == "failed"]
        heard, run = self.heard, self.site.state(self.run)
        if letters and self._redriven(letters, weather) and self.heard == heard:
            ended = self.site.state(self.run)
            if ended.status != "succeeded" and ended.reason == run.reason:
                self.wrong.append("dead letters were redriven, and nothing came of it")
        if self.life.form.ends == "irreversible" and len({each.names for each in self._weathers()}) > 1:
            return  # What never can be undone may stand in the place of another.
        roots = [step.id for step in self.definition.steps if not step.after]
        for step in [*roots, *roots]:
            if self.wrong or self.site.state(self.run).status == "succeeded":
                return
            self._restarted(step, weather)
        if not self.wrong and self.site.state(self.run).status != "succeeded":
            self.wrong.append("it does not come through, although everything works")

    def _names(self) -> str:
        """Which list it had last."""
        names = self.judge.value("list")
        return next((key for key, each in LISTS.items() if each.split() == names), "same")

    def _weathers(self) -> list[Weather]:
        return [self.life.first, *(each.weather for each in self.life.later if not isinstance(each, Discard))]


def _work_items(letters: Iterable[DeadLetter]) -> dict[str, list[int | None]]:
    work_items: dict[str, list[int | None]] = {}
    for letter in letters:
        assert letter.step is not None
        work_items.setdefault(letter.step, []).append(letter.index)
    return work_items
