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
from muster.runs.children import is_waited_for, requested_by, withdraw
from muster.runs.parents import parent_of

_NO_INPUTS = (PARENT, "openlineage")
"""Keys of a run's conf that no person has written: ours, and what Airflow adds where it reports lineage."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Everything that Airflow knows of a run when it begins."""

    run: str
    dag_id: str
    dag_run_id: str
    definition: Definition
    bundle_version: str | None
    conf: Mapping[str, object] = field(default_factory=dict)
    started: datetime | None = None
    """When Airflow started the run; tells this execution from later ones."""
    trigger: str = "manual"
    """Airflow's run type: manual, scheduled, backfill, asset_triggered."""
    scheduled: ScheduledFor | None = None
    """The times of the schedule that has started the run; None when no schedule has."""
    requested_by: str | None = None
    """The user who asked for the run; None when nobody did."""


class InputsDoNotFit(PermanentError):
    """The inputs of a run do not fit its automation: the run fails, and a person triggers it again with others.

    The message repeats values only if the run is about nobody.
    """

    repeats_data = False


async def open_run(services: Services, opening: Opening) -> Mapping[str, object]:
    """Store the definition, write `run.opened`, validate the inputs, and return them.

    Raises:
        InputsDoNotFit: the inputs do not fit; the run is opened all the same, so that its page shows why.
    """
    definition = opening.definition
    learn_settings(definition.settings)
    # Stored before `run.opened` names it: after a crash in the other order, an open run would have no definition, and
    # no step of it could go on.
    await services.definitions.aput(definition.canonical_json(), hash=definition.hash, automation=definition.name)
    inputs = _inputs(definition, opening.conf)
    asked = await requested_by(services, opening.run, opening.conf)
    if asked is not None:
        # A process that died after it asked for this run may have left the request behind, and its own run may be
        # undone by now. Only before the first opening: once open, the parent finds this run itself, and withdraws it if
        # need be.
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
    # The stored event counts: when Airflow starts this task again, the run keeps the inputs it was opened with.
    stored = RunOpened.of((await services.log.aappend(opening.run, [event]))[0])
    # Undeclared names from the stored event, not from the conf: an earlier release ignored such names, and a run that
    # it has opened goes on.
    others = stored.undeclared or []
    # Asked after the append: `run.opened` decides whom the run is about, and so whether an error may repeat its values.
    repeat = await services.log.asubject(opening.run) is None
    if problems := [*_undeclared(others, repeat=repeat), *_problems(definition, inputs, repeat=repeat)]:
        there = f"{suggestion(others if repeat else (), definition.inputs)} " if others else ""
        raise InputsDoNotFit(
            f"The inputs do not fit {definition.name}: {'; '.join(problems)}.",
            remedy=f"{there}Trigger the run again with inputs that do.",
        )
    return dict(stored.inputs)


def fitting_inputs(definition: Definition, given: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """The declared inputs of a run about nobody, defaults filled in, and a list of problems in words."""
    inputs = _inputs(definition, given)
    return inputs, _problems(definition, inputs, repeat=True)


def _inputs(definition: Definition, given: Mapping[str, object]) -> dict[str, object]:
    """The declared inputs of a run's conf, defaults filled in."""
    schemas = definition.inputs
    defaults = {name: schema["default"] for name, schema in schemas.items() if "default" in schema}
    return defaults | {name: value for name, value in given.items() if name in schemas}


def _undeclared(names: Sequence[str], *, repeat: bool) -> list[str]:
    """The problems of undeclared names, in words; `repeat` says that the names may be repeated."""
    return [f"there is no input `{name}`" if repeat else "there is no input of a name that was given" for name in names]


def _problems(definition: Definition, inputs: Mapping[str, object], *, repeat: bool) -> list[str]:
    """The problems of the inputs, in words; `repeat` says that the values may be repeated."""
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
