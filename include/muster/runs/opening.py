"""`open`: the first task of every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from muster.errors import PermanentError
from muster.events.keys import OPENED
from muster.events.payloads.base import ScheduledFor
from muster.events.payloads.runs import RunOpened
from muster.execution.personal import SubjectDoesNotFit, names_of
from muster.execution.run_executions import instant
from muster.execution.services import Services
from muster.language.definition import Definition
from muster.language.inputs import PARENT, suggestion, undeclared
from muster.redaction import learn_settings
from muster.runs.children import is_waited_for, parent_of, requested_by, withdraw

_NO_INPUTS = (PARENT, "openlineage")
"""Keys of a run's conf that no person has written: ours, and what Airflow adds where it reports lineage."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What Airflow knows of a run that begins."""

    run: str
    dag_id: str
    dag_run_id: str
    definition: Definition
    bundle_version: str | None
    conf: Mapping[str, object] = field(default_factory=dict)
    started: datetime | None = None
    """When Airflow started the run: what tells this execution of it from later ones."""
    trigger: str = "manual"
    """Airflow's run type: manual, scheduled, backfill, asset_triggered."""
    scheduled: ScheduledFor | None = None
    """The times of the schedule that has started it; None where none has."""
    requested_by: str | None = None
    """The user who asked for the run; None when nobody did."""


class InputsDoNotFit(PermanentError):
    """The inputs of a run are not what its automation asks for; values are repeated only where they may be."""

    repeats_data = False


async def open_run(services: Services, opening: Opening) -> Mapping[str, object]:
    """Validate the inputs, store the definition, write `run.opened`; return the inputs.

    Raises:
        InputsDoNotFit: the inputs do not fit; the run is opened all the same, so that it shows why.
    """
    definition = opening.definition
    learn_settings(definition.settings)
    # Before `run.opened` names it: a run whose definition is not there could not go on.
    await services.definitions.aput(definition.canonical_json(), hash=definition.hash, automation=definition.name)
    inputs = _inputs(definition, opening.conf)
    asked = await requested_by(services, opening.run, opening.conf)
    if asked is not None:
        # Only while it is not opened yet: an open run is withdrawn by the run that asked for it, if it is to be.
        first = OPENED not in await services.log.aunder_keys(opening.run, [OPENED])
        if first and not await is_waited_for(services, asked):
            await withdraw(services, opening.run, by=asked.stream, reason="nobody waits for it any more")
    said = RunOpened(
        automation=definition.name,
        definition=definition.hash,
        bundle_version=opening.bundle_version,
        inputs=inputs,
        trigger=opening.trigger,
        requested_by=opening.requested_by,
        dag_id=opening.dag_id,
        dag_run_id=opening.dag_run_id,
        started=instant(opening.started) if opening.started is not None else None,
        parent=parent_of(asked) if asked is not None else None,
        scheduled=opening.scheduled,
        undeclared=undeclared(opening.conf, {*definition.inputs, *_NO_INPUTS}) or None,
    )
    causation = asked.id if asked is not None else None
    event = said.event(key=OPENED, actor=opening.requested_by or "airflow", causation=causation)
    # What was written first counts: begun again, this task goes by the inputs that the run was opened with.
    stored = RunOpened.of((await services.log.aappend(opening.run, [event]))[0])
    # As it was when the run began: one that an earlier release has opened, and passed over a name in, goes on.
    others = stored.undeclared or []
    # Asked once it is opened: whom the run is about follows from that event.
    repeat = await services.log.asubject(opening.run) is None
    if problems := [*_undeclared(others, repeat=repeat), *_problems(definition, inputs, repeat=repeat)]:
        there = f"{suggestion(others if repeat else (), definition.inputs)} " if others else ""
        raise InputsDoNotFit(
            f"The inputs do not fit {definition.name}: {'; '.join(problems)}.",
            remedy=f"{there}Trigger the run again with inputs that do.",
        )
    return dict(stored.inputs)


def fitting_inputs(definition: Definition, given: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """The inputs of a run that is not about somebody as a definition declares them, and what does not fit it."""
    inputs = _inputs(definition, given)
    return inputs, _problems(definition, inputs, repeat=True)


def _inputs(definition: Definition, given: Mapping[str, object]) -> dict[str, object]:
    """The inputs among what a run was given, defaults filled in."""
    schemas = definition.inputs
    defaults = {name: schema["default"] for name, schema in schemas.items() if "default" in schema}
    return defaults | {name: value for name, value in given.items() if name in schemas}


def _undeclared(names: Sequence[str], *, repeat: bool) -> list[str]:
    """What is said of names that are no inputs; `repeat` says that they may be repeated."""
    return [f"there is no input `{name}`" if repeat else "there is no input of a name that was given" for name in names]


def _problems(definition: Definition, inputs: Mapping[str, object], *, repeat: bool) -> list[str]:
    """What does not fit; `repeat` says that the values may be repeated."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(
        definition.input_schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    problems = [
        f"{path}: {error.message if repeat else 'does not fit'}"
        for error in validator.iter_errors(dict(inputs))
        for path in [error.json_path.removeprefix("$.")]
    ]
    try:
        names_of(definition, inputs)
    except SubjectDoesNotFit as error:
        return problems or [error.message]
    return problems
