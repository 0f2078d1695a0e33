"""What must hold within one automation and between it and its site; every breach is located."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from muster.language import inputs as input_checks
from muster.language.approvals import check_approvals
from muster.language.automation import Automation, SkillCheck
from muster.language.conditions import check_answers, check_conditions, check_lists
from muster.language.context import check_context
from muster.language.early import RUN_KEYS, check_early, named, parsed
from muster.language.explain import Located, a
from muster.language.expressions import texts
from muster.language.graph import After, before, circle, waits
from muster.language.ids import check_ids
from muster.language.kinds import KINDS
from muster.language.lookalikes import Shell, check_lookalikes, is_whole
from muster.language.outputs import check_outputs
from muster.language.personal import check_personal
from muster.language.positions import check_positions
from muster.language.problems import Problem
from muster.language.reading import Path
from muster.language.references import References
from muster.language.site_catalog import (
    SiteCatalog,
    command_settings,
    computed_settings,
    file_settings,
    variables_in_settings,
)
from muster.language.spot import Spot
from muster.language.steps import MappedStep, SharingStep, StepBase, WorkStep
from muster.language.triggers import kind_of
from muster.language.triggers.schedule import check_schedule
from muster.language.usage import WITH_EXPRESSIONS, Usage
from muster.language.vain import check_vain
from muster.skills.index import Lane

DAGS = frozenset({"muster_reconciler"})
"""Names of Muster's own Dags, which no automation may have."""

_RUN_KEYS = frozenset(RUN_KEYS)
_POSITIONAL = frozenset({"item", "index"})


def check(
    automation: Automation,
    document: Located,
    settings: Mapping[str, object],
    usages: Mapping[str, Usage],
    catalog: SiteCatalog,
) -> list[Problem]:
    """Everything that is wrong with an automation whose shape is right, in the order of the file.

    `usages` holds what each step refers to; a step whose expressions cannot be read is not in it.
    """
    return sorted(set(_Checker(automation, document, settings, usages, catalog).problems()))


class _Checker:
    def __init__(
        self,
        automation: Automation,
        document: Located,
        settings: Mapping[str, object],
        usages: Mapping[str, Usage],
        catalog: SiteCatalog,
    ) -> None:
        self.automation, self.document = automation, document
        self.settings, self.usages, self.catalog = settings, usages, catalog
        self.steps = automation.steps
        self.ids = [step.id for step in self.steps]
        self.after: After = waits(self.steps)

    def problems(self) -> Iterator[Problem]:
        automation, document = self.automation, self.document
        yield from self._name()
        yield from check_ids(self.steps, document)
        yield from self._order()
        yield from self._circle()
        yield from self._each_step()
        yield from self._approvals()
        yield from check_positions(self.steps, self._fan_outs, document)
        yield from self._conditions()
        yield from self._expressions()
        yield from self._triggers()
        yield from input_checks.check(automation.inputs, document)
        yield from self._deadlines()
        yield from check_personal(automation.personal, automation.inputs, self.ids, document)
        yield from self._context()
        yield from computed_settings(document, automation.settings, ("settings",))
        yield from variables_in_settings(document, automation.settings, ("settings",))
        yield from file_settings(document, automation.settings, ("settings",))
        yield from command_settings(document, automation.settings, ("settings",))
        yield from self._checks()
        yield from self._no_expressions()
        yield from self._lookalikes()
        yield from check_outputs(self.steps, self.usages, self.catalog, document)
        yield from check_vain(automation, document)

    @cached_property
    def before(self) -> dict[str, frozenset[str]]:
        """For each step all steps before it; empty while the order is broken."""
        if self.circle or len(set(self.ids)) < len(self.ids):
            return {}
        return before(self._known_after)

    @property
    def _known_after(self) -> After:
        """What each step waits for, without names that no step has."""
        return {step: tuple(name for name in after if name in self.after) for step, after in self.after.items()}

    @cached_property
    def circle(self) -> list[str] | None:
        """Steps that wait for each other; None also while two steps share an id."""
        return circle(self.after) if len(set(self.ids)) == len(self.ids) else None

    @property
    def _fan_outs(self) -> set[str]:
        return {step.id for step in self.steps if step.fans_out}

    def _name(self) -> Iterator[Problem]:
        if self.automation.automation in DAGS:
            message = f"`{self.automation.automation}` is the name of a Dag of Muster's own"
            yield self.document.problem(message, ("automation",), suggestion="Choose another one.")

    def _order(self) -> Iterator[Problem]:
        for position, step in enumerate(self.steps):
            yield from self._spot("steps", position).steps(step.after or (), "after")

    def _circle(self) -> Iterator[Problem]:
        if names := self.circle:
            position = self.ids.index(names[0])
            message = f"these steps wait for each other: {' → '.join(reversed(names))}"
            yield self.document.problem(
                message, ("steps", position, "after"), key=True, suggestion="Take one of them out of an `after`."
            )

    def _each_step(self) -> Iterator[Problem]:
        for position, step in enumerate(self.steps):
            path: Path = ("steps", position)
            if isinstance(step, WorkStep) and step.pack is not None and step.each is None:
                yield self.document.problem(
                    "`pack` packs the items of `each`, and there is none", (*path, "pack"), key=True
                )
            if isinstance(step, MappedStep) and step.failures is not None and not step.fans_out:
                message = "`failures` is about the items of `each`, and there is none"
                suggestion = "Leave it out: a step that fails for good has what the run did undone."
                yield self.document.problem(message, (*path, "failures"), key=True, suggestion=suggestion)
            spot, kind = self._spot(*path), KINDS[step.kind]
            yield from kind.check(step, spot)
            if isinstance(step, WorkStep):
                yield from self._lane(step, kind.lanes, path)
                yield from self._undoing(step, spot)

    def _spot(self, *path: str | int) -> Spot:
        return Spot(self.document, path, self.settings, self.catalog, self.ids)

    def _lane(self, step: WorkStep, lanes: Sequence[Lane], path: Path) -> Iterator[Problem]:
        if step.lane is not None and step.lane not in lanes:
            where = "a task process" if lanes[0] == "worker" else "the triggerer"
            message = f"{a(step.kind)} runs in {where}, so its lane is `{lanes[0]}`"
            yield self.document.problem(message, (*path, "lane"))

    def _undoing(self, step: WorkStep, spot: Spot) -> Iterator[Problem]:
        if (undo := step.compensate) is not None:
            yield from spot.skill(undo.skill, undo.arguments, ("compensate", "skill"), ("compensate", "with"))
            if step.irreversible:
                message = "a step is undone by `compensate`, or it is `irreversible`"
                yield spot.problem(message, "irreversible", key=True)

    def _approvals(self) -> Iterator[Problem]:
        if self.before and len(self.usages) == len(self.steps):
            yield from check_approvals(self.steps, self._known_after, self.usages, self.document)

    def _conditions(self) -> Iterator[Problem]:
        yield from check_conditions(self.steps, self.automation.inputs, self._fan_outs, self.catalog, self.document)
        people = {step.id for step in self.steps if KINDS[step.kind].resolved.done_by == "people"}
        yield from check_answers(self.steps, people & self._fan_outs, self.usages, self.document)
        yield from check_lists(self.steps, self.document)
        for position, step in enumerate(self.steps):
            path = (self.usages[step.id].each.path if step.id in self.usages else None) or ()
            if path[:1] == ("inputs",) and (kind := input_checks.is_no_list(path[1:], self.automation.inputs)):
                message = f"`{'.'.join(path)}` is {kind}, which is no list"
                yield self.document.problem(message, ("steps", position, "each"))

    def _expressions(self) -> Iterator[Problem]:
        for position, step in enumerate(self.steps):
            if self._plainly_right(step):
                continue
            raw = self.document.data["steps"][position]
            for path, text in texts({key: raw[key] for key in raw if key != "id"}):
                place: Path = ("steps", position, *path)
                if path[0] == "after":
                    continue  # No step has such a name, and that is said of it.
                if path[0] not in WITH_EXPRESSIONS:
                    yield self.document.problem(f"no expression can stand in `{path[0]}`", place)
                    continue
                references = parsed(text, place, self.document)
                if isinstance(references, Problem):
                    yield references
                else:
                    yield from self._referred(references, step, str(path[0]), place)

    def _plainly_right(self, step: StepBase) -> bool:
        """True when nothing is wrong with a step's expressions, told from its usage alone.

        Most steps pass here, and their texts need not be walked through for the place of a mistake.
        """
        used = self.usages.get(step.id)
        if used is None or used.elsewhere:
            return False
        inputs, settings = self.automation.inputs.keys(), self.settings.keys()
        positional = used.each.variables
        if not step.fans_out:
            positional = positional | used.when.variables | used.work.variables | used.undo.variables
        return (
            not positional & _POSITIONAL
            and "output" not in used.each.variables | used.when.variables | used.work.variables
            and used.steps <= self.before.get(step.id, frozenset())
            and used.undo.steps <= {*self.before.get(step.id, ()), step.id}
            and all(
                part.inputs <= inputs
                and part.settings <= settings
                and part.run <= _RUN_KEYS
                and not any(map(self._nothing, part.inside))
                for part in (used.each, used.when, used.work, used.undo)
            )
        )

    def _referred(self, references: References, step: StepBase, key: str, place: Path) -> Iterator[Problem]:
        for name in sorted(references.steps):
            if name not in self.ids:
                yield from self._spot(*place).step(name)
            elif self.before and name not in self.before[step.id] and (key, name) != ("compensate", step.id):
                which = "itself" if name == step.id else f"`{name}`, which does not come before it"
                suggestion = None if name == step.id else f"Write `after: {name}`, or move the step."
                yield self.document.problem(f"the step uses the output of {which}", place, suggestion=suggestion)
        in_fan_out = step.fans_out and key != step.list_key
        for name in sorted(references.variables & _POSITIONAL):
            if not in_fan_out:
                message = f"`{name}` is only known in a step with `each`"
                suggestion = (
                    "Give this step an `each` too, or use what a step gave back: `steps.<id>`, in a fan-out a list."
                )
                yield self.document.problem(message, place, suggestion=suggestion)
        if "output" in references.variables and key != "compensate":
            message = "`output` is only known in `compensate`, where it is what the step gave back"
            yield self.document.problem(message, place)
        yield from named(references.inputs, self.automation.inputs, "input", place, self.document)
        for path in sorted(references.inside):
            if (wrong := self._nothing(path)) is not None:
                yield self.document.problem(wrong.message, place, suggestion=wrong.suggestion)
        yield from named(references.settings, self.settings, "setting", place, self.document)
        yield from named(references.run, RUN_KEYS, "value of `run`", place, self.document)

    def _nothing(self, path: tuple[str, ...]) -> input_checks.Nothing | None:
        """Why there can be nothing at a path inside an input; None where the automation asks whether there is."""
        if any(path[: len(asked)] == asked for asked in self._asked):
            return None
        return input_checks.inside(path, self.automation.inputs)

    @cached_property
    def _asked(self) -> frozenset[tuple[str, ...]]:
        parts = ((used.each, used.when, used.work, used.undo) for used in self.usages.values())
        return frozenset(path for step_parts in parts for part in step_parts for path in part.asked)

    def _triggers(self) -> Iterator[Problem]:
        for position, trigger in enumerate(self.automation.triggers):
            yield from kind_of(trigger).check(trigger, self.automation, self._spot("triggers", position))
            yield from check_early(
                trigger.model_dump(), ("triggers", position), self.settings, self.document, gives=str | int | float
            )

    def _deadlines(self) -> Iterator[Problem]:
        for position, deadline in enumerate(self.automation.deadlines):
            notices = [target.model_dump() for target in deadline.notify]
            yield from check_early(notices, ("deadlines", position, "notify"), self.settings, self.document, gives=str)
            yield from self._spot("deadlines", position).addresses(deadline.notify, "notify")
        notices = [target.model_dump() for target in self.automation.incidents]
        yield from check_early(notices, ("incidents",), self.settings, self.document, gives=str)
        yield from self._spot("incidents").addresses(self.automation.incidents)

    def _checks(self) -> Iterator[Problem]:
        for position, asked in enumerate(self.automation.checks):
            path: Path = ("checks", position)
            if asked.schedule is not None:
                yield from check_schedule(asked.schedule, (*path, "schedule"), self.document)
            if isinstance(asked, SkillCheck):
                yield from self._spot(*path).skill(asked.skill, asked.arguments, ("skill",), ("with",))
                yield from check_early(asked.arguments, (*path, "with"), self.settings, self.document)
                continue
            for _ in texts(asked.sql):
                # Data in a query could change what it asks, and its answer would prove nothing.
                yield self.document.problem("no expression can stand in `sql`", (*path, "sql"))

    def _lookalikes(self) -> Iterator[Problem]:
        for position, step in enumerate(self.steps):
            raw = self.document.data["steps"][position]
            commands: Shell = "nowhere" if KINDS[step.kind].resolved.done_by == "airflow" else "beginning"
            spot = self._spot("steps", position)
            for key in raw.keys() & WITH_EXPRESSIONS:
                if key in ("when", "each") and not is_whole(raw[key]):
                    continue  # What is text there is told so already.
                variables = commands if key in ("with", "fallback", "compensate") else "anywhere"
                yield from check_lookalikes(raw[key], spot, key, variables=variables)
        for key in ("triggers", "deadlines", "incidents"):
            yield from check_lookalikes(self.document.data.get(key), self._spot(key), variables="anywhere")

    def _context(self) -> Iterator[Problem]:
        automation = self.automation
        shared = [
            (position, step.context)
            for position, step in enumerate(self.steps)
            if isinstance(step, SharingStep) and step.context is not None
        ]
        yield from check_context(
            automation.shared_context,
            shared,
            automation.inputs,
            self.document,
            self.catalog.skills,
            is_personal=automation.personal is not None,
        )

    def _no_expressions(self) -> Iterator[Problem]:
        for key in ("title", "description", "owner"):
            for _ in texts(getattr(self.automation, key)):
                yield self.document.problem(f"no expression can stand in `{key}`", (key,))
