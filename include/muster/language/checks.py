"""What must hold within one automation and between it and its surroundings; every breach is located."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from muster.language import inputs as input_checks
from muster.language import triggers as trigger_checks
from muster.language.approvals import check_approvals
from muster.language.automation import Automation, SkillCheck
from muster.language.conditions import check_conditions, check_lists
from muster.language.early import check_early, named, parsed
from muster.language.escalation import check_escalation
from muster.language.explain import Located, shown_value
from muster.language.expressions import References, texts
from muster.language.graph import After, before, circle, waits
from muster.language.ids import check_ids
from muster.language.literals import fits
from muster.language.personal import check_personal
from muster.language.positions import check_positions
from muster.language.problems import Problem, did_you_mean, one_of
from muster.language.reading import Path
from muster.language.resolve import chosen_agent
from muster.language.steps import (
    AgentFallback,
    AgentStep,
    BranchStep,
    HumanStep,
    MappedStep,
    NotifyStep,
    OperatorStep,
    SkillFallback,
    SkillStep,
    StepBase,
    WorkStep,
)
from muster.language.surroundings import Surroundings, computed_settings, file_settings
from muster.language.usage import WITH_EXPRESSIONS, Usage

DAGS = frozenset({"muster_reconciler"})
"""Names that no automation may have: Muster's own Dags are called so."""

RUN_KEYS = ("id", "automation", "requested_by", "opened_at")
"""What `run` holds."""

_RUN_KEYS = frozenset(RUN_KEYS)
_POSITIONAL = frozenset({"item", "index"})


def check(
    automation: Automation,
    document: Located,
    settings: Mapping[str, Any],
    usages: Mapping[str, Usage],
    among: Surroundings,
) -> list[Problem]:
    """Everything that is wrong with an automation whose shape is right, in the order of the file.

    `usages` holds what each step refers to; a step whose expressions cannot be read is not in it.
    """
    checker = _Checker(automation, document, settings, usages, among)
    problems = [problem for part in checker.parts for problem in part()]
    return sorted(set(problems))


class _Checker:
    def __init__(
        self,
        automation: Automation,
        document: Located,
        settings: Mapping[str, Any],
        usages: Mapping[str, Usage],
        among: Surroundings,
    ) -> None:
        self.automation, self.document = automation, document
        self.settings, self.usages, self.among = settings, usages, among
        self.steps = automation.steps
        self.ids = [step.id for step in self.steps]
        self.after: After = waits(self.steps)

    @property
    def parts(self) -> list[Callable[[], Iterable[Problem]]]:
        return [
            self._name, self._ids, self._order, self._circle, self._each_step, self._approvals, self._positions,
            self._conditions, self._expressions, self._triggers, self._inputs, self._deadlines, self._personal,
            self._own_settings, self._checks, self._no_expressions,
        ]  # fmt: skip

    @cached_property
    def before(self) -> dict[str, frozenset[str]]:
        """For each step all steps before it; empty while the order is broken."""
        if self.circle or len(set(self.ids)) < len(self.ids):
            return {}
        return before(self._known_after)

    @property
    def _known_after(self) -> After:
        """What each step waits for, names aside that no step has."""
        return {step: tuple(name for name in after if name in self.after) for step, after in self.after.items()}

    @cached_property
    def circle(self) -> list[str] | None:
        """Steps that wait for each other; not looked for while an id stands for two steps."""
        return circle(self.after) if len(set(self.ids)) == len(self.ids) else None

    def _name(self) -> Iterator[Problem]:
        if self.automation.automation in DAGS:
            message = f"`{self.automation.automation}` is the name of a Dag of Muster's own"
            yield self.document.problem(message, ("automation",), suggestion="Choose another one.")

    def _ids(self) -> Iterator[Problem]:
        yield from check_ids(self.steps, self.document)

    def _order(self) -> Iterator[Problem]:
        for position, step in enumerate(self.steps):
            for entry, name in enumerate(step.after or []):
                yield from self._known_step(name, _entry(self.document, ("steps", position, "after"), entry))
            if isinstance(step, BranchStep):
                yield from self._ways(step, ("steps", position, "branch"))

    def _ways(self, step: BranchStep, path: Path) -> Iterator[Problem]:
        for number, way in enumerate(step.branch):
            if way.when is None and number < len(step.branch) - 1:
                message = "this way has no `when`, so those below it are never taken"
                yield self.document.problem(message, (*path, number), suggestion="Move it to the end.")
            for entry, name in enumerate(way.to):
                yield from self._known_step(name, _entry(self.document, (*path, number, "to"), entry))

    def _known_step(self, name: str, path: Path) -> Iterator[Problem]:
        if name not in self.ids:
            suggestion = did_you_mean(name, self.ids) or f"The steps are {', '.join(self.ids)}."
            yield self.document.problem(f"there is no step `{name}`", path, suggestion=suggestion)

    def _circle(self) -> Iterator[Problem]:
        if found := self.circle:
            position = self.ids.index(found[0])
            message = f"these steps wait for each other: {' → '.join(reversed(found))}"
            yield self.document.problem(message, ("steps", position, "after"), key=True)

    def _each_step(self) -> Iterator[Problem]:
        for position, step in enumerate(self.steps):
            path: Path = ("steps", position)
            if isinstance(step, WorkStep) and step.pack is not None and step.each is None:
                yield self.document.problem(
                    "`pack` packs the items of `each`, and there is none", (*path, "pack"), key=True
                )
            if isinstance(step, SkillStep):
                yield from self._skill(step.skill, step.arguments, (*path, "skill"), (*path, "with"))
            elif isinstance(step, AgentStep):
                yield from self._agent(step, path)
            elif isinstance(step, HumanStep):
                yield from self._human(step, path)
            elif isinstance(step, NotifyStep):
                yield from self._notices(step, path)
            elif isinstance(step, OperatorStep):
                yield from self._operator(step, path)
            if isinstance(step, WorkStep):
                yield from self._undoing(step, path)
            if isinstance(step, SkillStep | AgentStep) and step.fallback is not None:
                yield from self._fallback(step, (*path, "fallback"))

    def _skill(self, name: str, given: Mapping[str, Any], path: Path, arguments: Path) -> Iterator[Problem]:
        entry = self.among.skills.get(name)
        if entry is None:
            suggestion = did_you_mean(name, self.among.skills.entries) or "`muster skill --list` shows them all."
            yield self.document.problem(f"there is no skill `{name}`", path, suggestion=suggestion)
            return
        known = {parameter.name: parameter.annotation for parameter in entry.parameters}
        for argument, value in given.items():
            if not fits(value, annotation := known.get(argument, "Any")):
                message = f"the skill `{name}` takes `{annotation}` as `{argument}`, not {shown_value(value)}"
                yield self.document.problem(message, (*arguments, argument))
            if argument not in known and not entry.takes_any:
                suggestion = did_you_mean(argument, known) or f"It takes {', '.join(known) or 'none'}."
                message = f"the skill `{name}` takes no argument `{argument}`"
                yield self.document.problem(message, (*arguments, argument), key=True, suggestion=suggestion)
        missing = [p.name for p in entry.parameters if p.required and p.name not in given]
        if missing:
            words = ", ".join(f"`{argument}`" for argument in missing)
            message = f"the skill `{name}` needs {words}"
            yield self.document.problem(message, path, suggestion=f"Give it in `with`: `with: {{ {missing[0]}: … }}`.")

    def _agent(self, step: AgentStep, path: Path) -> Iterator[Problem]:
        if step.agent is not None:
            yield from self._known_agent(step.agent, (*path, "agent"))
        elif step.needs is not None and chosen_agent(step, self.among) is None:
            wanted = f"has {one_of(step.needs.skills).replace(' or ', ' and ')} among its skills"
            place = f" in the department `{step.needs.department}`" if step.needs.department else ""
            agents = self.among.agents.by_id.values()
            known = {skill for agent in agents for skill in agent.skills}
            hints = [did_you_mean(skill, known) for skill in step.needs.skills if skill not in known]
            yield self.document.problem(
                f"no agent{place} {wanted}", (*path, "needs"), suggestion=next(filter(None, hints), None)
            )

    def _known_agent(self, name: str, path: Path) -> Iterator[Problem]:
        if self.among.agents.get(name) is None:
            suggestion = did_you_mean(name, self.among.agents.by_id) or "`muster agents` shows them all."
            yield self.document.problem(f"there is no agent `{name}`", path, suggestion=suggestion)

    def _human(self, step: HumanStep, path: Path) -> Iterator[Problem]:
        if not step.human.assignees:
            message = "nobody may answer: `assignees` is empty"
            yield self.document.problem(message, (*path, "human", "assignees"))
        yield from check_escalation(step.human, (*path, "human"), self.document)

    def _notices(self, step: NotifyStep, path: Path) -> Iterator[Problem]:
        for position, target in enumerate(step.notify):
            if target.text is None:
                yield self.document.problem("`text` is missing: what the notice says", (*path, "notify", position))

    def _operator(self, step: OperatorStep, path: Path) -> Iterator[Problem]:
        if step.lane == "async":
            message = "an operator runs in a task process, so its lane is `worker`"
            yield self.document.problem(message, (*path, "lane"))
        if step.lock is not None:
            message = "an operator may leave its process and come back, so it cannot hold a lock"
            yield self.document.problem(message, (*path, "lock"), key=True, suggestion="Lock a skill instead.")
        allowed = allowed_operators(self.settings)
        if not operator_allowed(step.operator, allowed):
            message = f"the operator `{step.operator}` is not allowed here"
            suggestion = f"The setting `allowed_operators` allows {', '.join(allowed) or 'none'}."
            yield self.document.problem(message, (*path, "operator"), suggestion=suggestion)
        elif found := self.among.refusal(step.operator):
            message = f"the operator `{step.operator}` {found.message}"
            yield self.document.problem(message, (*path, "operator"), suggestion=found.suggestion)

    def _undoing(self, step: WorkStep, path: Path) -> Iterator[Problem]:
        if step.compensate is not None:
            place = (*path, "compensate")
            yield from self._skill(
                step.compensate.skill, step.compensate.arguments, (*place, "skill"), (*place, "with")
            )
        if step.compensate is not None and step.irreversible:
            message = "a step is undone by `compensate`, or it is `irreversible`"
            yield self.document.problem(message, (*path, "irreversible"), key=True)

    def _approvals(self) -> Iterator[Problem]:
        if self.before and len(self.usages) == len(self.steps):
            yield from check_approvals(self.steps, self._known_after, self.usages, self.document)

    def _fallback(self, step: SkillStep | AgentStep, path: Path) -> Iterator[Problem]:
        fallback = step.fallback
        if isinstance(fallback, SkillFallback):
            own = fallback.arguments is not None
            given = fallback.arguments if fallback.arguments is not None else step.arguments
            place = (*path, "with") if own else (*path[:-1], "with")
            yield from self._skill(fallback.skill, given, (*path, "skill"), place)
        elif isinstance(fallback, AgentFallback):
            yield from self._known_agent(fallback.agent, (*path, "agent"))
            if fallback.ask is None and isinstance(step, SkillStep):
                yield self.document.problem("`ask` is missing: what the agent is asked", path)

    def _positions(self) -> Iterator[Problem]:
        fan_outs = {step.id for step in self.steps if isinstance(step, MappedStep) and step.each is not None}
        yield from check_positions(self.steps, fan_outs, self.document)

    def _conditions(self) -> Iterator[Problem]:
        yield from check_conditions(self.steps, self.document)
        yield from check_lists(self.steps, self.document)

    def _expressions(self) -> Iterator[Problem]:
        for position, step in enumerate(self.steps):
            if self._plainly_right(step):
                continue
            raw = self.document.data["steps"][position]
            for path, text in texts({key: raw[key] for key in raw if key != "id"}):
                place: Path = ("steps", position, *path)
                if path[0] not in WITH_EXPRESSIONS:
                    yield self.document.problem(f"no expression can stand in `{path[0]}`", place)
                    continue
                found = parsed(text, place, self.document)
                if isinstance(found, Problem):
                    yield found
                else:
                    yield from self._referred(found, step, str(path[0]), place)

    def _plainly_right(self, step: StepBase) -> bool:
        """True when nothing is wrong with a step's expressions; no place is searched for."""
        used = self.usages.get(step.id)
        if used is None or used.elsewhere:
            return False
        inputs, settings = self.automation.inputs.keys(), self.settings.keys()
        positional = used.each.variables
        if not isinstance(step, MappedStep) or step.each is None:
            positional = positional | used.when.variables | used.work.variables | used.undo.variables
        return (
            not positional & _POSITIONAL
            and "output" not in used.each.variables | used.when.variables | used.work.variables
            and used.steps <= self.before.get(step.id, frozenset())
            and used.undo.steps <= {*self.before.get(step.id, ()), step.id}
            and all(
                found.inputs <= inputs and found.settings <= settings and found.run <= _RUN_KEYS
                for found in (used.each, used.when, used.work, used.undo)
            )
        )

    def _referred(self, found: References, step: StepBase, key: str, place: Path) -> Iterator[Problem]:
        for name in sorted(found.steps):
            if name not in self.ids:
                yield from self._known_step(name, place)
            elif self.before and name not in self.before[step.id] and (key, name) != ("compensate", step.id):
                which = "itself" if name == step.id else f"`{name}`, which does not come before it"
                suggestion = None if name == step.id else f"Write `after: {name}`, or move the step."
                yield self.document.problem(f"the step uses the output of {which}", place, suggestion=suggestion)
        in_fan_out = isinstance(step, MappedStep) and step.each is not None and key != "each"
        for name in sorted(found.variables & _POSITIONAL):
            if not in_fan_out:
                message = f"`{name}` is only known in a step with `each`"
                yield self.document.problem(message, place)
        if "output" in found.variables and key != "compensate":
            message = "`output` is only known in `compensate`, where it is what the step gave back"
            yield self.document.problem(message, place)
        yield from named(found.inputs, self.automation.inputs, "input", place, self.document)
        yield from named(found.settings, self.settings, "setting", place, self.document)
        yield from named(found.run, RUN_KEYS, "value of `run`", place, self.document)

    def _triggers(self) -> Iterator[Problem]:
        yield from trigger_checks.check(self.automation, self.document, self.settings)
        for position, trigger in enumerate(self.automation.triggers):
            yield from check_early(
                trigger.model_dump(), ("triggers", position), self.settings, self.document, gives=str | int | float
            )

    def _inputs(self) -> Iterator[Problem]:
        yield from input_checks.check(self.automation.inputs, self.document)

    def _deadlines(self) -> Iterator[Problem]:
        for position, deadline in enumerate(self.automation.deadlines):
            notices = [target.model_dump() for target in deadline.notify]
            yield from check_early(notices, ("deadlines", position, "notify"), self.settings, self.document, gives=str)
        notices = [target.model_dump() for target in self.automation.incidents]
        yield from check_early(notices, ("incidents",), self.settings, self.document, gives=str)

    def _personal(self) -> Iterator[Problem]:
        yield from check_personal(self.automation.personal, self.automation.inputs, self.ids, self.document)

    def _own_settings(self) -> Iterator[Problem]:
        yield from computed_settings(self.document, self.automation.settings, ("settings",))
        yield from file_settings(self.document, self.automation.settings, ("settings",))

    def _checks(self) -> Iterator[Problem]:
        for position, asked in enumerate(self.automation.checks):
            path: Path = ("checks", position)
            if asked.schedule is not None:
                yield from trigger_checks.check_schedule(asked.schedule, (*path, "schedule"), self.document)
            if isinstance(asked, SkillCheck):
                yield from self._skill(asked.skill, asked.arguments, (*path, "skill"), (*path, "with"))
                yield from check_early(asked.arguments, (*path, "with"), self.settings, self.document)
                continue
            for _ in texts(asked.sql):
                # A query that data could change would be a hole, and its answer no proof.
                yield self.document.problem("no expression can stand in `sql`", (*path, "sql"))

    def _no_expressions(self) -> Iterator[Problem]:
        for key in ("title", "description", "owner"):
            for _ in texts(getattr(self.automation, key)):
                yield self.document.problem(f"no expression can stand in `{key}`", (key,))


def _entry(document: Located, path: Path, position: int) -> Path:
    """The path to an entry of a list that may be written as a single text."""
    value = document.data
    for part in path:
        value = value[part]
    return (*path, position) if isinstance(value, list) else path


def allowed_operators(settings: Mapping[str, Any]) -> list[str]:
    """The import paths, or their beginnings followed by `.*`, of the operators that may be used."""
    allowed = settings.get("allowed_operators", ["airflow.providers.*"])
    return [str(entry) for entry in allowed] if isinstance(allowed, list) else []


def operator_allowed(path: str, allowed: Iterable[str]) -> bool:
    """True when one of the entries allows the operator."""
    return any(path.startswith(entry[:-1]) if entry.endswith(".*") else path == entry for entry in allowed)
