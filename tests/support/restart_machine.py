"""Plays runs that are done again, from a step or a dead letter, with another list; a file of calls judges them.

The judge knows nothing of the log: it reads which names were read, checked, asked about, posted and undone, in the
order in which that happened, and how each run was said to have ended.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from muster.approvals import asking
from muster.errors import PermanentError
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.run_executions import begin_epoch
from muster.execution.work_item import WorkItem
from muster.language.definition import Definition
from muster.operations.redoing import Plan, order, plan_redrive, plan_restart
from muster.recovery.dead_letters import DeadLetter, DeadLetters, Filter
from support.runs import Site
from support.sources import source_of

Pack = Literal["1", "2", "all"]
SKILLS = source_of(__file__, "restart_machine")
STEPS = ("list", "read", "check", "approve", "post", "last")
FANS_OUT = STEPS[1:5]
SHAPES = {
    "plain": ("retry: {times: 0}", ""),
    "undone": ("compensate: {skill: shop.undo, with: {folder: '{{ inputs.folder }}'}}", ""),
    "final": ("irreversible: true", ""),
    "when": ("compensate: {skill: shop.undo, with: {folder: '{{ inputs.folder }}'}}", "{{ steps.list | length > 2 }}"),
    "item": (
        "compensate: {skill: shop.undo, with: {folder: '{{ inputs.folder }}'}}",
        "{{ steps.list | length > 2 or index == 0 }}",
    ),
}
"""What undoes `post`, and its `when`, which depends on the list."""
LISTS = {
    "same": "a b c",
    "shorter": "a b",
    "first gone": "b c",
    "longer": "a b c d",
    "another": "a d c",
    "one": "b",
    "none": "",
}


@dataclass(frozen=True)
class Weather:
    """What a list holds and what becomes of its names while an execution is played."""

    names: str = "same"
    aside: tuple[str, ...] = ()
    """`<step>.<name>`."""
    broken: tuple[str, ...] = ()
    rejected: str = ""


@dataclass(frozen=True)
class Again:
    """A later execution: from a step on, or the dead letter of that number."""

    begins: str | int
    weather: Weather = Weather()


@dataclass(frozen=True)
class Case:
    """One run: its shape, its first execution and the later ones."""

    pack: Pack
    shape: str
    over: str
    """The step whose list `post` fans out over."""
    first: Weather
    later: tuple[Again, ...]


def automation(case: Case) -> str:
    """The automation of a case."""
    pack = f"pack: {case.pack}"
    undo, when = SHAPES[case.shape]

    def work(step: str, over: str, name: str, more: str = "") -> str:
        given = f'with: {{folder: "{{{{ inputs.folder }}}}", step: {step}, name: "{{{{ {name} }}}}"}}'
        return f'  - {{id: {step}, each: "{{{{ steps.{over} }}}}", {pack}, skill: shop.work, {given}{more}}}\n'

    return (
        "automation: tested\ninputs: {folder: {type: string}}\nsteps:\n"
        '  - {id: list, skill: shop.names, with: {folder: "{{ inputs.folder }}"}}\n'
        + work("read", "list", "item")
        + work("check", "read", "item")
        + '  - {id: approve, each: "{{ steps.check }}", human: {ask: "Post {{ item }}?", assignees: [lead]}}\n'
        + work("post", case.over, "steps.list[index]", f", {undo}{f', when: {when!r}' if when else ''}")
        + '  - {id: last, skill: shop.work, with: {folder: "{{ inputs.folder }}", step: last, name: last}}\n'
    )


@dataclass
class Judge:
    """What the calls say: what of each step stands today, who was approved, and what is posted and not undone."""

    case: Case
    names: list[str] = field(default_factory=list)
    stands: dict[tuple[str, str], str] = field(default_factory=dict)
    """`ok`, `aside` or `broken` by step and name."""
    posted: dict[str, set[str]] = field(default_factory=dict)
    """The names that are posted and not undone, by key."""
    tried: dict[str, str] = field(default_factory=dict)
    """The name that was posted last, or failed to be, and is not undone, by key; what cannot be undone, only posted."""
    replaces: bool = False
    """True when the list of this execution has another name in the place of one of those."""
    wrong: list[str] = field(default_factory=list)

    def begins(self, steps: Collection[str], only: Collection[str] | None) -> None:
        """These steps are done again; `only` names whose part of the fan-outs among them."""
        for step, name in list(self.stands):
            if step in steps and (only is None or step == "last" or name in only):
                del self.stands[step, name]

    def hears(self, call: str) -> None:
        """One line of the file of calls."""
        step, *words = call.split()
        if step == "list":
            self.names = words
            self.replaces = any(
                f"post[{index}]" in key and name != self.tried[key]
                for key in self.tried
                for index, name in enumerate(words)
            )
        elif step == "undo":
            self.posted.pop(words[0], None)
            self.tried.pop(words[0], None)
        else:
            name, how, *key = words
            if step == "post":
                self._posts(name, how, key[0])
            if step != "last":
                self._allowed(step, name)
            self.stands[step, name] = how

    def _posts(self, name: str, how: str, key: str) -> None:
        if self.case.shape != "plain" and self.tried.get(key, name) != name:
            self.wrong.append(f"vii: {name} is posted in the place of {self.tried[key]}, which stands")
        if how == "ok":
            self.posted.setdefault(key, set()).add(name)
        if self.case.shape != "plain" and (how == "ok" or self.case.shape != "final"):
            self.tried[key] = name

    def _allowed(self, step: str, name: str) -> None:
        if name not in self.names:
            self.wrong.append(f"ii: {step} {name}, which is not in the list any more")
        for before in FANS_OUT[: FANS_OUT.index(step)]:
            how = self.stands.get((before, name))
            if how != "ok":
                number = "i" if before == "approve" else "ii"
                self.wrong.append(f"{number}: {step} {name}, and {before} of it is {how or 'not done'} now")
                return

    def ends(self, status: str, reason: str | None) -> None:
        """The run was closed."""
        lost = [f"{step} {name}" for (step, name), how in self.stands.items() if how == "broken" and self._is_in(name)]
        posted = set().union(*self.posted.values())
        if status == "compensated" and posted:
            self.wrong.append(f"iv: compensated, and {sorted(posted)} stand posted")
        if lost and status == "succeeded":
            self.wrong.append(f"v: succeeded, and {lost} failed")
        if not lost and not self._all_set_aside() and not self.replaces and status != "succeeded":
            self.wrong.append(f"iii: {status} ({reason}), and nothing failed")
        if status == "succeeded" and (missing := [name for name in self._due() if name not in posted]):
            self.wrong.append(f"vi: succeeded, and {missing} are not posted")

    def _is_in(self, name: str) -> bool:
        return name == "last" or name in self.names

    def _all_set_aside(self) -> bool:
        """Then a step counts as failed."""
        for step in FANS_OUT[:2]:
            hows = [self.stands[step, name] for name in self.names if (step, name) in self.stands]
            if hows and set(hows) == {"aside"}:
                return True
        return False

    def _due(self) -> Iterator[str]:
        for index, name in enumerate(self.names):
            if self.case.shape in ("when", "item") and len(self.names) < 3 and (self.case.shape == "when" or index):
                continue
            if all(self.stands.get((step, name)) == "ok" for step in FANS_OUT[:3]):
                yield name


class Player:
    """Plays the runs of cases on one site; `folder` is where the files are."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site, self._folder = site, folder
        self._definitions: dict[str, Definition] = {}
        self._numbers = itertools.count(1)
        site.skills("shop", SKILLS)

    def play(self, case: Case) -> list[str]:
        """What was wrong with a run."""
        source = automation(case)
        if source not in self._definitions:
            self._definitions[source] = self._site.definition(source)
        definition, judge = self._definitions[source], Judge(case)
        run = self._site.open(definition, folder=str(self._folder))
        self._execute(run, definition, judge, case.first, Plan(run, STEPS, (), (), 0), 0)
        for again in case.later:
            if judge.wrong or not self._again(run, definition, judge, again):
                break
        return judge.wrong

    def _again(self, run: str, definition: Definition, judge: Judge, again: Again) -> bool:
        """Do it again; False when that is refused, or there is no such dead letter."""
        services, only = self._site.services, None
        try:
            if isinstance(again.begins, int):
                letters = self._letters(run)
                if again.begins >= len(letters):
                    return False
                letter = letters[again.begins]
                assert letter.step is not None
                only = None if letter.index is None else judge.names[letter.index : letter.index + 1]
                work_items = {letter.step: [letter.index]}
                plan = plan_redrive(services.log, services.definitions, run, work_items, by="ann")
            else:
                plan = plan_restart(services.log, services.definitions, run, again.begins, by="ann")
            order(services.log, plan)
        except PermanentError:
            return False
        except Exception as error:
            judge.wrong.append(f"{again.begins} gave {type(error).__name__}: {error}")
            return False
        number = next(self._numbers)
        epoch = self._site.do(begin_epoch(services, run, f"begun/{number}", f"later {number}")).number
        judge.begins({*plan.steps, *(step for step, _ in plan.slots)}, only)
        self._execute(run, definition, judge, again.weather, plan, epoch)
        return True

    def _letters(self, run: str) -> list[DeadLetter]:
        letters = DeadLetters(self._site.services.database).waiting(Filter(run=run, set_aside=True), limit=20)
        return sorted((letter for letter in letters if letter.step is not None), key=lambda letter: letter.id)

    def _execute(
        self, run: str, definition: Definition, judge: Judge, weather: Weather, plan: Plan, epoch: int
    ) -> None:
        """The tasks of a plan in order, undoing, and the end."""
        (self._folder / "names").write_text(LISTS[weather.names])
        (self._folder / "aside").write_text("\n".join(weather.aside))
        (self._folder / "broken").write_text("\n".join(weather.broken))
        (self._folder / "calls").write_text("")
        failed: dict[str, str | None] = {}
        for step in definition.steps:
            whole = step.id in plan.steps
            slots = [slot for name, slot in plan.slots if name == step.id]
            if whole and step.is_mapped:
                try:
                    slots = list(range(self._site.expand(run, step.id, epoch=epoch)))
                except PermanentError:
                    slots, failed[f"{step.id}.items"] = [], "failed"
            for slot in [None] if whole and not step.is_mapped else slots:
                ref = WorkRef(run=run, step=step.id, slot=slot, epoch=epoch)
                if step.kind == "human":
                    self._asked(ref, weather)
                elif self._site.step(run, step.id, slot, epoch=epoch).status == "failed":
                    failed[step.id if slot is None else f"{step.id}_{slot}"] = "failed"
        self._site.unwind(run, failed, epoch=epoch)
        self._site.close(run, failed, epoch=epoch)
        for call in (self._folder / "calls").read_text().splitlines():
            judge.hears(call)
        state = self._site.state(run)
        judge.ends(state.status, state.reason)

    def _asked(self, ref: WorkRef, weather: Weather) -> None:
        async def asked() -> None:
            work_item = await begin(self._site.services, ref)
            if not isinstance(work_item, WorkItem):
                return
            name = work_item.variables["item"]
            await asking.request(self._site.services, work_item)
            approved = name != weather.rejected
            with (self._folder / "calls").open("a") as file:
                file.write(f"approve {name} {'ok' if approved else 'rejected'}\n")
            await asking.answer(self._site.services, work_item, approved=approved, by="lead")

        self._site.do(asked())


FIRST = (
    Weather(),
    Weather(broken=("post.c",)),
    Weather(broken=("read.c",)),
    Weather(broken=("last.last",)),
    Weather(broken=("post.a", "post.b", "post.c")),
    Weather(aside=("read.b",)),
    Weather(rejected="b"),
)
"""How a first execution may end: well, one item lost, undone, one set aside, one rejected."""
LATER = (
    *(Weather(names=name) for name in LISTS),
    Weather(aside=("read.b",)),
    Weather(aside=("check.b",)),
    Weather(broken=("read.c",)),
    Weather(broken=("check.c",)),
    Weather(broken=("post.b",)),
    Weather(broken=("last.last",)),
    Weather(names="shorter", broken=("last.last",)),
    Weather(names="another", aside=("read.d",)),
    Weather(rejected="a"),
)
"""What a later one may meet."""
