"""Words of other tools, and what is written for them here: Airflow's, dag-factory's, Kestra's, GitHub Actions'."""

from __future__ import annotations

import re
from collections.abc import Collection

from muster.language.filters import FILTERS

_AUTOMATION = {
    "schedule": 'It stands under `triggers`: `triggers: [{ schedule: "@daily" }]`.',
    "name": "It is `automation`: the name, in lower case.",
    "id": "It is `automation`: the name, in lower case.",
    "namespace": "It is `category`.",
    "tags": "Automations are grouped by `category` and `department`.",
    "tasks": "It is `steps`.",
    "jobs": "It is `steps`.",
    "task_groups": "Steps are a flat list under `steps`; `after` says what they wait for.",
    "params": "It is `inputs`.",
    "parameters": "It is `inputs`.",
    "variables": "It is `settings`.",
    "vars": "It is `settings`.",
    "env": "It is `settings`; secrets stand in Airflow's connections.",
    "on": "It is `triggers`.",
    "default_args": "It is `defaults`.",
    "start_date": "A schedule begins when it is published; nothing is caught up.",
    "catchup": "Nothing is ever caught up: leave it out.",
    "max_active_runs": "Leave it out; `lock` keeps steps of several runs apart.",
    "max_active_tasks": "Leave it out; Airflow pools (`pool`) limit how many tasks work at once.",
    "dagrun_timeout": "It is `deadlines`, which say who is told.",
    "sla": "It is `deadlines`, which say who is told.",
    "on_failure_callback": "Who is told that a run is stuck stands under `incidents`.",
    "errors": "Steps have `compensate`, and `incidents` says who is told.",
    "doc_md": "It is `description`.",
    "owner_links": "It is `owner`.",
}
_STEP = {
    "depends_on": "It is `after`.",
    "dependencies": "It is `after`.",
    "dependsOn": "It is `after`.",
    "upstream": "It is `after`.",
    "depends_on_past": "Leave it out; `lock` keeps runs apart.",
    "task_id": "It is `id`.",
    "name": "It is `id`, and `title` for people.",
    "retries": "It is `retry`: `retry: { times: 3 }`.",
    "retry_delay": "It stands under `retry`: `retry: { times: 3, delay: 10s }`.",
    "execution_timeout": "It is `timeout`.",
    "trigger_rule": "Leave it out: `when` and `branch` say what goes ahead.",
    "priority_weight": "It is `priority`.",
    "queue": "It is `lane`.",
    "expand": "It is `each`.",
    "foreach": "It is `each`.",
    "for_each": "It is `each`.",
    "forEach": "It is `each`.",
    "loop": "It is `each`.",
    "with_items": "It is `each`.",
    "items": "It is `each`.",
    "if": "It is `when`.",
    "condition": "It is `when`.",
    "runIf": "It is `when`.",
    "params": "It is `with`.",
    "args": "It is `with`.",
    "kwargs": "It is `with`.",
    "op_kwargs": "It is `with`.",
    "inputs": "It is `with`.",
    "arguments": "It is `with`.",
    "python_callable": "Write a skill: a typed Python function that `skill` names.",
    "uses": "It is `skill`, `agent`, `run` or `operator`.",
    "type": "It is `operator` for one of Airflow's, or `skill` for a function.",
    "bash_command": "It stands under `with` of an `operator`.",
    "script": "It is an `operator` (BashOperator) or a `skill`.",
    "on_failure": "It is `fallback` for what takes over, and `compensate` for what undoes the step.",
    "on_failure_callback": "It is `fallback` for what takes over, and `compensate` for what undoes the step.",
    "prompt": "It is `ask`.",
    "message": "It stands under `notify`, as `text`.",
}
_RETRY = {"attempts": "It is `times`.", "maxAttempt": "It is `times`.", "retries": "It is `times`."}
_RETRY |= {"interval": "It is `delay`.", "wait": "It is `delay`."}
_HUMAN = {
    "approvers": "It is `assignees`.",
    "users": "It is `assignees`.",
    "assignee": "It is `assignees`.",
    "message": "It is `ask`.",
    "question": "It is `ask`.",
    "subject": "It is `ask`.",
    "timeout": "It is `within`.",
}
_TRIGGER = {
    "cron": "It is `schedule`.",
    "tz": "It is `timezone`.",
    "file": "It is `files`.",
    "type": "Leave it out: `schedule` or `files` says which trigger it is.",
}
_NOTICE = {"body": "It is `text`.", "message": "It is `text`.", "channel": "It is `slack`.", "to": "It is `email`."}
_FILTERS = {
    "strftime": "date",
    "isoformat": "date",
    "datetimeformat": "date",
    "to_json": "tojson",
    "toJson": "tojson",
    "json": "tojson",
    "dumps": "tojson",
    "strip": "trim",
    "get": "default",
    "format": "string",
    "len": "length",
    "size": "length",
    "str": "string",
}
"""Filters by the names that others, and methods and functions, have for them."""
VARIABLES = {
    "params": "inputs",
    "conf": "inputs",
    "dag_run": "inputs",
    "var": "settings",
    "vars": "settings",
    "ds": "run.today",
    "ts": "run.scheduled_at",
    "logical_date": "run.scheduled_at",
    "execution_date": "run.scheduled_at",
    "data_interval_start": "run.interval_start",
    "data_interval_end": "run.interval_end",
    "dag": "run.automation",
    "run_id": "run.id",
    "ti": "steps",
    "task_instance": "steps",
    "outputs": "steps",
    "tasks": "steps",
    "taskrun": "item",
    "each": "item",
    "needs": "steps",
}
"""Variables of expressions by the names that others have for them."""

NO_VARIABLES = {
    "secrets": "Secrets stand in Airflow's connections, which a skill opens.",
    "conn": "Secrets stand in Airflow's connections, which a skill opens.",
    "env": "Write it under `settings`, or, where it is a secret, in an Airflow connection.",
    "envs": "Write it under `settings`, or, where it is a secret, in an Airflow connection.",
    "macros": "Use a filter: `run.today | add_days(7)`.",
}
"""Variables of others for which there is none here, and what is done instead."""
CALLS = {
    "xcom_pull": "What a step gave back is `steps.<id>`.",
    "xcom_push": "What a skill returns is `steps.<id>` in the steps after it.",
    "ds_add": "Use the filter `| add_days`: `run.today | add_days(7)`.",
    "ds_format": "Use the filter `| date`.",
    "now": "The day of the run is `run.today`, and its time is `run.scheduled_at`.",
    "env": NO_VARIABLES["env"],
    "secret": NO_VARIABLES["secrets"],
}
"""Methods and functions of others, and what is written for them here."""
REMEDIES = {
    "unexpected end of template": "Close it with `}}`.",
    "unexpected '}'": "Close it with `}}`.",
    "unexpected char '&'": "Write `and`.",
    "got '|'": "Write `or`.",
    "unexpected char '!'": "Write `not`.",
    "unexpected char '?'": "Write `a if condition else b`.",
    "got '='": "Compare with `==`.",
}
"""What is written instead, by what Jinja says."""
MEANT: dict[str, tuple[str, tuple[type, ...]]] = {
    "retry": ("{{ times: {} }}", (int,)),
    "budget": ("{{ usd: {} }}", (int, float)),
    "compensate": ("{{ skill: {} }}", (str,)),
    "human": ('{{ ask: "{}", assignees: [name] }}', (str,)),
    "needs": ("{{ skills: [{}] }}", (str,)),
}
"""The mapping that a person means who writes one value, by the key it stands under, and what such a value is."""
TYPES = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "decimal": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "map": "object",
    "json": "object",
}
"""Types of inputs by the names that others have for them, in lower case."""
JSON_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
"""What the type of an input can be."""


_PLACES = {
    "automation": _AUTOMATION,
    "after": _STEP,
    "times": _RETRY,
    "assignees": _HUMAN,
    "schedule": _TRIGGER,
    "text": _NOTICE,
}
"""The words of a mapping, by a key that only mappings of this kind take."""
_HERE = re.compile(r"It (?:is|stands under)(?: an?)? `(\w+)`")


def said_elsewhere(key: str, known: Collection[str]) -> str | None:
    """What is written for a key of other tools, in a mapping that takes these keys; None where nothing is."""
    words = next((words for sign, words in _PLACES.items() if sign in known), {})
    said = words.get(key)
    here = _HERE.match(said) if said else None
    return None if here and here[1] not in known else said


def filter_meant(name: str) -> str | None:
    """What is said to somebody who calls a filter as others do, or as a method or function."""
    here = name if name in FILTERS else _FILTERS.get(name)
    return f"Use the filter `| {here}`." if here else None
