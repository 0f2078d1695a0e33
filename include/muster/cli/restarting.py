"""`muster restart`: a person has a run performed again from a step on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing

from rich.markup import escape

from muster.cli.carrying_out import carry_out
from muster.cli.connections import airflow, open_database, open_log
from muster.cli.output import console, emit
from muster.errors import MusterError, PermanentError
from muster.events.definitions import DefinitionStore
from muster.events.queries import Queries
from muster.language import load_folder
from muster.language.definition import Definition
from muster.local.project import find_project
from muster.operations.newer import Version, differences
from muster.operations.redoing import Plan, plan_restart
from muster.redaction import learn_settings, redact_data


def restart_run(run: str, *, step: str, current: bool, dry_run: bool, user: str, as_json: bool) -> None:
    """Have a run performed again from a step on, with the version it has or with the current one."""
    with closing(open_database()) as database:
        row = Queries(database).run(run)
        run, definitions = row.id, DefinitionStore(database)
        now = _current(row.automation or "", user) if current else None
        plan = plan_restart(open_log(database), definitions, run, step, by=user, now=now)
        changed = _changed(definitions, row.definition or "", plan)
        if current and not as_json:
            _show_changed(run, plan, changed)
        if plan.also and not as_json:
            why = "; ".join(f"step {name} {reason}" for name, reason in plan.also.items())
            also = "would also be done again" if dry_run else "also done again"
            console().print(f"{escape(run)}: {also}: {', '.join(plan.besides)}, because {why}.")
        tasks = carry_out(database, [plan], user, dry_run=dry_run, refuse=_raise)
    if as_json:
        done = {"run": run, "from": step, "also": list(plan.also), "steps": plan.steps, "tasks": tasks[run]}
        emit({**done, "by": user, "dry_run": dry_run, **({"changed": changed} if current else {})})
        return
    said = "would be done again" if dry_run else "is done again" if len(plan.steps) == 1 else "are done again"
    console().print(f"{escape(run)}: {', '.join(plan.steps)} {said}.")


def _current(automation: str, user: str) -> Version:
    """The automation as its YAML is now.

    Raises:
        MusterError: it is not valid, or Airflow does not have it yet.
    """
    catalogue = load_folder(find_project().include, only=automation)
    if (definition := catalogue.definitions.get(automation)) is None:
        raise PermanentError(
            f"There is no current version of {automation}: {next(iter(catalogue.problems), 'its YAML is gone')}",
            remedy="`muster lint` shows what to mend.",
        )
    with airflow(user) as client:
        dag = client.details(automation) or {}
    if f"Version `{definition.hash[:12]}`" not in (dag.get("doc_md") or ""):
        raise PermanentError(
            f"Airflow does not have {automation} as its YAML is now.",
            remedy="Try again in a moment: an edit is taken over within seconds; `muster doctor` says what hinders it.",
        )
    return Version(definition, dag.get("bundle_version"))


def _changed(definitions: DefinitionStore, own: str, plan: Plan) -> list[Mapping[str, object]]:
    """The differences of the version that the run goes on with; empty when it keeps its own."""
    if plan.version_now is None:
        return []
    before = Definition.model_validate_json(definitions.get(own))
    learn_settings(before.settings)
    learn_settings(plan.version_now.definition.settings)
    return [redact_data(dict(difference)) for difference in differences(before, plan.version_now.definition)]


def _show_changed(run: str, plan: Plan, changed: Sequence[Mapping[str, object]]) -> None:
    out = console()
    if plan.version_now is None:
        out.print(f"{run}: its version is the current one.", markup=False)
    elif not changed:
        out.print(f"{run}: it goes on with today's version, whose steps say the same.", markup=False)
    for difference in changed:
        where = "" if difference["step"] is None else f"{difference['step']}: "
        shown = {
            name: json.dumps(difference[name], ensure_ascii=False, default=str)
            for name in ("was", "is")
            if name in difference
        }
        match shown:
            case {"was": was, "is": now}:
                out.print(f"  ~ {where}{difference['what']}: {was} -> {now}", markup=False)
            case {"is": now}:
                out.print(f"  + {where}{difference['what']} is new: {now}", markup=False)
            case {"was": was}:
                out.print(f"  - {where}{difference['what']} is gone: {was}", markup=False)


def _raise(run: str, error: MusterError) -> None:
    raise error
