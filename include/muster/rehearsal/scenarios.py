"""The scenarios of a rehearsal, and how their results are judged.

Every case is played as it is. The first one is also played with each step failing, before and after its work;
with every action done twice; undone with every compensation done twice; with each compensation failing and the
run resumed; and with its process dying before and after each append to the log, forwards and while undoing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from muster.errors import MusterError
from muster.events.state import RunState
from muster.execution.checking import broken_checks
from muster.execution.variables import variables_for
from muster.execution.view import load_all
from muster.language.conditions import is_true
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.rehearsal.faults import NONE, Faults
from muster.rehearsal.playing import Playing, in_order, next_name
from muster.rehearsal.script import Case, Script
from muster.rehearsal.stage import Stage
from muster.saga.children import irreversible_work_below
from muster.saga.resuming import resume
from muster.saga.scope import irreversible_steps_begun, pending_compensations

TRUSTED = ("succeeded", "failed", "compensated", "stuck")
"""The statuses in which a run may end; a run in any other one cannot be trusted."""


@dataclass
class Scenario:
    """One scenario that is played and judged."""

    name: str
    judge: Callable[[], Awaitable[list[str]]] = field(repr=False)
    """Plays the scenario and returns its problems; none when all is well."""
    run: str = field(default_factory=next_name)
    """The name of its run: said here, it is the same whichever process plays the scenario, and no other's."""


class Rehearsal:
    """All scenarios of one automation."""

    def __init__(self, definition: Definition, script: Script, stage: Stage) -> None:
        self.definition, self.script, self.stage = definition, script, stage
        self._first = script.cases[0]
        self._baseline: tuple[RunState, list[object]] | None = None
        self._begin: list[object] = []
        self._asked = [
            *(f"query {n} of `state`" for n in range(1, len(script.state) + 1)),
            *(call.skill for call in script.witness),
        ]
        self._reached: RunState | None = None

    async def scenarios(self) -> list[Scenario]:
        """The scenarios in order. The first case is played once to find its steps and the places where it can crash.

        If it cannot be played, its own scenario says why, and the other cases are played without faults.
        """
        self._begin = await self.stage.state()
        scenarios = list(self._cases())
        try:
            plain, undone = await self._lengths()
        except Exception:
            return [self._guarded(scenario) for scenario in scenarios]
        scenarios += [*self._failures(), *self._repetitions(), *self._compensations(), *self._crashes(plain, undone)]
        return [self._guarded(scenario) for scenario in scenarios]

    def _cases(self) -> Iterator[Scenario]:
        for case in self.script.cases:
            yield Scenario(case.name, partial(self._case, case))

    def _failures(self) -> Iterator[Scenario]:
        for step in in_order(self.definition):
            if step.chooses:
                continue
            yield Scenario(f"{step.id} fails", partial(self._fails, step, after=False))
            if step.done_by not in ("people", "airflow"):
                name = f"{step.id} fails after its work was done"
                yield Scenario(name, partial(self._fails, step, after=True))

    def _repetitions(self) -> Iterator[Scenario]:
        yield Scenario("every action happens twice", partial(self._same, Faults(twice=True)))
        if (last := self._last()) is not None:
            faults = Faults(fail=last.id, after=True, undo_twice=True)
            yield Scenario("every compensation happens twice", partial(self._undone, faults))

    def _compensations(self) -> Iterator[Scenario]:
        last = self._last()
        for step in in_order(self.definition):
            if step.can_be_undone and last is not None:
                name = f"the compensation of {step.id} fails, and the run is resumed"
                yield Scenario(name, partial(self._stuck, step, last))

    def _crashes(self, plain: int, undone: int) -> Iterator[Scenario]:
        whens: tuple[Literal["before", "after"], ...] = ("before", "after")
        for number in range(1, plain + 1):
            for when in whens:
                faults = Faults(crash=number, when=when)
                yield Scenario(f"a crash {when} append {number}", partial(self._same, faults))
        if (last := self._last()) is None:
            return
        for number in range(1, undone + 1):
            for when in whens:
                faults = Faults(fail=last.id, after=True, crash=number, when=when)
                yield Scenario(f"a crash {when} append {number} of an undone run", partial(self._undone, faults))

    def _guarded(self, scenario: Scenario) -> Scenario:
        """The same scenario, for which an error is a problem: it must not keep the others from being played."""

        async def judged() -> list[str]:
            self.stage.name = scenario.run
            try:
                return await scenario.judge()
            except MusterError as error:
                return [f"it cannot be played: {error}"]
            except Exception as error:
                return [f"it broke off: {type(error).__name__}: {error}"]

        return Scenario(scenario.name, judged, scenario.run)

    async def _case(self, case: Case) -> list[str]:
        async with self.stage.playing(self.definition, case) as playing:
            state = await playing.play()
            return [*await self._sound(playing), *self._unexpected(case, state, playing)]

    def _unexpected(self, case: Case, state: RunState, playing: Playing) -> Iterator[str]:
        wanted = case.expect
        if state.status != wanted.status:
            yield f"it ended {state.status} ({state.reason}), not {wanted.status}"
        for name, status in wanted.steps.items():
            if (ended := state.step(name).status) != status:
                yield f"step {name} is {ended}, not {status}"
        names = [step.id for step in self.definition.steps]
        variables = variables_for(self.definition, names, state, playing.services())
        for expression in wanted.hold:
            if not is_true(expression, variables, where=f"case {case.name}"):
                yield f"{expression} does not hold"

    async def _fails(self, step: ResolvedStep, *, after: bool) -> list[str]:
        async with self.stage.playing(self.definition, self._first, Faults(fail=step.id, after=after)) as playing:
            state = await playing.play()
            problems = await self._sound(playing)
            if not any(work.started_at for work in _works(state, step)):
                return problems  # this case does not come to the step
            left = pending_compensations(self.definition, state)
            if state.status == "succeeded" and step.fallback is None:
                problems.append("the run succeeded all the same")
            if step.is_harmless:
                return problems
            if state.status == "compensated" and left:
                problems.append(f"it counts as undone, and {', '.join(left)} is not")
            if state.status == "compensated" and (final := await self._final(playing)) is not None:
                problems.append(f"it counts as undone, and {final} cannot be")
            elif state.status == "compensated":
                problems += await self._back_at_the_beginning()
            return problems

    async def _same(self, faults: Faults) -> list[str]:
        """The run ends as without the fault, and so does everything outside the log."""
        state, outside = self._baseline if self._baseline is not None else await self._whole()
        async with self.stage.playing(self.definition, self._first, faults) as playing:
            ended = await playing.play()
            problems = await self._sound(playing)
            if ended.status != state.status:
                problems.append(f"it ended {ended.status} ({ended.reason}), not {state.status}")
            if _statuses(ended) != _statuses(state):
                problems.append(f"its steps ended {_statuses(ended)}, not {_statuses(state)}")
            return problems + self._differences("left", outside, await self.stage.state())

    async def _undone(self, faults: Faults) -> list[str]:
        async with self.stage.playing(self.definition, self._first, faults) as playing:
            state = await playing.play()
            problems = await self._sound(playing)
            # Irreversible work makes the run stuck before anything is undone: a person has to say how it goes on.
            final = await self._final(playing)
            problems += _not_ended(state, "compensated" if final is None else "stuck")
            return problems + (await self._back_at_the_beginning() if final is None else [])

    async def _stuck(self, step: ResolvedStep, last: ResolvedStep) -> list[str]:
        faults = Faults(fail=last.id, after=True, fail_undo=step.id)
        async with self.stage.playing(self.definition, self._first, faults) as playing:
            state = await playing.play()
            problems = await self._sound(playing)
            if not any(work.started_at for work in _works(state, step)):
                return problems
            if wrong := _not_ended(state, "stuck"):
                return [*problems, *wrong]
            if (final := await self._final(playing)) is not None:
                # The run was stuck at irreversible work, before any compensation. The compensation that fails is called
                # only after the first resume, so the run must get stuck a second time.
                state = await self._resumed(playing)
                if wrong := _not_ended(state, "stuck"):
                    return [*problems, *(f"resumed, {said}" for said in wrong)]
            playing.faults = NONE
            state = await self._resumed(playing)
            problems += [f"resumed, {said}" for said in _not_ended(state, "compensated")]
            return problems + (await self._back_at_the_beginning() if final is None else [])

    async def _resumed(self, playing: Playing) -> RunState:
        resume(playing.services().log, playing.run, by="rehearsal")
        playing.epoch += 1
        # A run that was stuck at irreversible work has no `saga.unwinding` yet: `unwind.begin` still has to decide what
        # is undone.
        return await playing.end(resumed=(await playing.state()).unwinding is not None)

    async def _final(self, playing: Playing) -> str | None:
        """The first irreversible step that has begun, in the run or in one below it; None when there is none."""
        services = playing.services()
        view = await load_all(services, playing.run)
        below = [f"{work.what} of {work.run}" async for work in irreversible_work_below(services, view)]
        return next(iter([*irreversible_steps_begun(view.definition, view.state), *below]), None)

    async def _sound(self, playing: Playing) -> list[str]:
        """The problems of what must hold however a run went: its status, its log and its checks."""
        state = await playing.state()
        problems = [] if state.status in TRUSTED else [f"it ended {state.status}: nobody can trust that"]
        log = playing.services().log
        faults = [(run, await log.averify(run)) for run in (playing.run, *state.children)]
        problems += [f"the log of {run} does not verify: {fault.message}" for run, fault in faults if fault is not None]
        services = playing.services()
        broken = await broken_checks(
            self.definition, services.database, artifacts=services.artifacts, site=services.site, now=services.clock()
        )
        problems += [f"check {violation.check} does not hold: {violation.text}" for violation in broken]
        return problems

    async def _whole(self) -> tuple[RunState, list[object]]:
        name, self.stage.name = self.stage.name, f"{self.stage.name}_whole"
        async with self.stage.playing(self.definition, self._first) as playing:
            self._baseline = (await playing.play(), await self.stage.state())
        self.stage.name = name
        return self._baseline

    async def _back_at_the_beginning(self) -> list[str]:
        return self._differences("is not as it was before the run", self._begin, await self.stage.state())

    def _differences(self, what: str, wanted: list[object], found: list[object]) -> list[str]:
        answers = zip(self._asked, wanted, found, strict=True)
        return [f"{asked} {what}: {b}, not {a}" for asked, a, b in answers if a != b]

    async def _lengths(self) -> tuple[int, int]:
        """The number of appends to the log in the first case, and in the same case when its last step fails."""
        async with self.stage.playing(self.definition, self._first) as playing:
            self._reached = await playing.play()
            plain = playing.appends
            # What cannot be asked is said by each scenario that asks it.
            with suppress(Exception):
                self._baseline = (self._reached, await self.stage.state())
        if (last := self._last()) is None:
            return plain, 0
        async with self.stage.playing(self.definition, self._first, Faults(fail=last.id, after=True)) as playing:
            state = await playing.play()
            return plain, playing.appends if state.status in ("compensated", "stuck") else 0

    def _last(self) -> ResolvedStep | None:
        """The last step of the first case whose failure has the run undone; None when nothing in it can be undone."""
        begun = [step for step in in_order(self.definition) if self._comes_to(step)]
        if not any(step.can_be_undone for step in begun):
            return None
        steps = [step for step in begun if not (step.asks or step.chooses or step.is_harmless)]
        steps = [step for step in steps if step.failures != "stop"]
        return next((step for step in reversed(steps) if not step.irreversible), None)

    def _comes_to(self, step: ResolvedStep) -> bool:
        return self._reached is not None and any(work.started_at for work in _works(self._reached, step))


def _not_ended(state: RunState, wanted: str) -> list[str]:
    return [] if state.status == wanted else [f"it ended {state.status} ({state.reason}), not {wanted}"]


def _works(state: RunState, step: ResolvedStep) -> Iterator[Any]:
    result = state.step(step.id)
    yield from result.items.values() if result.is_fan_out else [result.whole]


def _statuses(state: RunState) -> dict[str, str]:
    return {name: step.status for name, step in state.steps.items()}
