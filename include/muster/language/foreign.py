"""Words of other tools, and what is written for them here: Airflow's, dag-factory's, Kestra's, GitHub Actions'."""

from __future__ import annotations

import re
from collections.abc import Collection

from muster.language.filters import FILTERS

_GOES_ON = "Leave it out: `failures: continue` is for the items of `each`, and `fallback` for a step."
_SIDE_BY_SIDE = "Steps are a flat list under `steps`; those with the same `after` are done side by side."
_OF_AGENTS = "It stands with the agent, in `agents/<department>.yaml`."
_ONLY_SKILLS = "It is `skill`: only a skill undoes a step, and it may be one of your own."
_ONE_ADDRESS_EACH = "It is `email`: a list of addresses, each of which gets a notice of its own."
_LINKED = "A notice has no attachments: say in `text` where the file lies."
_RANGE = 'It is `schedule`: every five minutes are `"*/5 * * * *"`.'
_AUTOMATION = {
    "schedule": 'It stands under `triggers`: `triggers: [{ schedule: "@daily" }]`.',
    "schedule_interval": 'It stands under `triggers`: `triggers: [{ schedule: "@daily" }]`.',
    "timezone": "It stands beside `schedule`, under `triggers`.",
    "version": "Leave it out: a version is made of what the file says.",
    "hosts": "Leave it out: steps are done where Muster runs.",
    "concurrency": "Leave it out; `lock` keeps steps of several runs apart.",
    "notify": "Who is told stands in a step `notify`, or under `deadlines` or `incidents`.",
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
    "continue-on-error": _GOES_ON,
    "continue_on_error": _GOES_ON,
    "ignore_errors": _GOES_ON,
    "allowFailure": _GOES_ON,
    "unless": "It is `when`, with `not`.",
    "register": "Leave it out: what a step gives back is `steps.<id>`.",
    "parallel": _SIDE_BY_SIDE,
    "tasks": _SIDE_BY_SIDE,
    "steps": _SIDE_BY_SIDE,
    "deadline": "It stands at the automation, as `deadlines`; a step has `timeout`.",
    "deadlines": "They stand at the automation; a step has `timeout`.",
    "sla": "It stands at the automation, as `deadlines`; a step has `timeout`.",
    "budget": "It stands at the automation; an agent has `limits` in its own file.",
    "tools": _OF_AGENTS,
    "model": _OF_AGENTS,
    "temperature": _OF_AGENTS,
    "instructions": _OF_AGENTS,
    "on_failure": "It is `fallback` for what takes over, and `compensate` for what undoes the step.",
    "on_failure_callback": "It is `fallback` for what takes over, and `compensate` for what undoes the step.",
    "prompt": "It is `ask`.",
    "message": "It stands under `notify`, as `text`.",
}
_RETRY = dict.fromkeys(("attempts", "count", "max", "maxAttempt", "maxAttempts", "retries"), "It is `times`.")
_RETRY |= {"interval": "It is `delay`.", "wait": "It is `delay`."}
_HUMAN = {
    "approvers": "It is `assignees`.",
    "users": "It is `assignees`.",
    "assignee": "It is `assignees`.",
    "message": "It is `ask`.",
    "question": "It is `ask`.",
    "subject": "It is `ask`.",
    "timeout": "It is `within`.",
    "options": "Leave it out: people approve or reject.",
    "channel": "It is `notify`.",
}
_TRIGGER = {
    "cron": "It is `schedule`.",
    "tz": "It is `timezone`.",
    "file": "It is `files`.",
    "type": "Leave it out: `schedule` or `files` says which trigger it is.",
    "every": _RANGE,
    "interval": _RANGE,
    "manual": "Leave it out: people and other programs can always start a run.",
    "inputs": "Nothing is given here: each input of the automation needs a `default`.",
    "with": "Nothing is given here: each input of the automation needs a `default`.",
}
_NOTICE = {"body": "It is `text`.", "message": "It is `text`.", "channel": "It is `slack`.", "to": "It is `email`."}
_NOTICE |= {"cc": _ONE_ADDRESS_EACH, "bcc": _ONE_ADDRESS_EACH, "attachments": _LINKED, "files": _LINKED}
_ESCALATION = {"within": "It is `after`.", "delay": "It is `after`."}
_ESCALATION |= dict.fromkeys(("assignees", "users", "approvers"), "It is `to`.")
_WAY = {"if": "It is `when`.", "condition": "It is `when`.", "else": "It is `to`, on a last way without `when`."}
_WAY |= dict.fromkeys(("then", "goto", "next", "step"), "It is `to`.")
_WAY |= {"steps": "It is `to`: their names; the steps themselves stand in the list of all."}
_BUDGET = dict.fromkeys(("eur", "amount", "cost", "max", "limit", "dollars"), "It is `usd`: amounts are in US dollars.")
_UNDO = dict.fromkeys(("run", "operator", "agent", "notify", "step"), _ONLY_SKILLS)
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
    "github": "run",
    "execution": "run",
    "flow": "run.automation",
    "now": "run.scheduled_at",
    "ds_nodash": "run.today",
    "trigger": "inputs",
    "loop": "index",
    "null": "none",
    "nil": "none",
    "undefined": "none",
    "TRUE": "true",
    "FALSE": "false",
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
    "timedelta": "Use the filter `| add_days`: `run.today | add_days(7)`.",
    "datetime": "The day of the run is `run.today`, and its time is `run.scheduled_at`.",
    "env": NO_VARIABLES["env"],
    "lookup": NO_VARIABLES["env"],
    "always": "Leave it out: `when` and `branch` say what goes ahead.",
    "success": "Leave it out: `when` and `branch` say what goes ahead.",
    "failure": "Nothing is done because a step failed, but its `fallback`, and `compensate`.",
    "secret": NO_VARIABLES["secrets"],
}
"""Methods and functions of others, and what is written for them here."""
REMEDIES = {
    "'endfor'": "Close it with `{% endfor %}`.",
    "'endif'": "Close it with `{% endif %}`.",
    "nexpected end of template": "Close it with `}}`.",
    "unexpected '}'": "Close it with `}}`.",
    "unexpected char '&'": "Write `and`.",
    "got '|'": "Write `or`.",
    "unexpected char '!'": "Write `not`.",
    "unexpected char '?'": "Write `a if condition else b`.",
    "got '='": "Compare with `==`.",
}
"""What is written instead, by what Jinja says."""
_NOTICE_MEANT = ('{{ slack: "{}", text: … }}', r"(#\S+)", "#office")
MEANT: dict[str, tuple[str, str, str]] = {
    "triggers": ('{{ schedule: "{}" }}', r"(.+)", "@daily"),
    "steps": ("{{ id: {}, … }}", r"(\w+)", "read"),
    "retry": ("{{ times: {} }}", r"(\d+)", "3"),
    "budget": ("{{ usd: {} }}", r"(\d+(?:\.\d+)?)", "5"),
    "compensate": ("{{ skill: {} }}", r"([a-z]\w*(?:\.\w+)+)", "<domain>.<verb_noun>"),
    "fallback": ("{{ skill: {} }}", r"([a-z]\w*(?:\.\w+)+)", "<domain>.<verb_noun>"),
    "human": ('{{ ask: "{}", assignees: [name] }}', r"(.+)", "May we?"),
    "needs": ("{{ skills: [{}] }}", r"(\w+)", "summaries"),
    "deadlines": ('{{ within: {}, notify: [{{ slack: "#office" }}] }}', r"(\d+[dhms])", "4h"),
    "escalate": ("{{ after: 1d, to: [{}] }}", r"([^\W\d][\w.@-]*)", "name"),
    "files": ('{{ path: {}, match: ["{}"] }}', r"^([^*]*[^*/])/?([^/*]*\*.*)?$", "/srv/inbox *.pdf"),
    "with": ("{{ name: {} }}", r"(.+)", "value"),
    "notify": _NOTICE_MEANT,
    "incidents": _NOTICE_MEANT,
}
"""The mapping that a person means who writes one value: by the key it stands under, what is written, what of the value
it takes over, and what stands there where the value has nothing of the kind."""
SENTENCES = {
    "run": "`run` names another automation; a command is the BashOperator's: `operator`.",
    "agent": "`agent` names an agent of `agents/<department>.yaml`; what it is asked stands under `ask`.",
}
"""What is said to somebody who writes a sentence where a name belongs, by its key."""
MISSING = {
    "automation": "Begin the file with `automation: name`.",
    "steps": "Write `steps:`, and below it a line that begins with `- id: …` for each step.",
    "id": "Give the step a name: `- id: read_letter`.",
    "ask": "Say what is asked: `ask: …`.",
    "assignees": "Say who may answer: `assignees: [name]`.",
    "text": "Say what they are told: `text: …`.",
}
"""What is said to somebody who has left a key out."""
NOT_TAKEN = {
    ("human", "timeout"): "It is `within`, under `human`.",
    ("run", "compensate"): "Leave it out: what that run did is undone by the `compensate` of its own steps.",
}
"""What is said to somebody who gives a step of this kind a key that other kinds take."""
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


_PLACES: tuple[tuple[frozenset[str], dict[str, str]], ...] = (
    (frozenset({"automation"}), _AUTOMATION),
    (frozenset({"id", "after"}), _STEP),
    (frozenset({"after", "to"}), _ESCALATION),
    (frozenset({"when", "to"}), _WAY),
    (frozenset({"times"}), _RETRY),
    (frozenset({"assignees"}), _HUMAN),
    (frozenset({"schedule"}), _TRIGGER),
    (frozenset({"text"}), _NOTICE),
    (frozenset({"usd"}), _BUDGET),
    (frozenset({"skill", "retry"}), _UNDO),
)
"""The words of a mapping, by keys that only mappings of this kind take together."""
_HERE = re.compile(r"It (?:is|stands under)(?: an?)? `(\w+)`")


def said_elsewhere(key: str, known: Collection[str]) -> str | None:
    """What is written for a key of other tools, in a mapping that takes these keys; None where nothing is."""
    words = next((words for signs, words in _PLACES if signs <= {*known}), {})
    said = words.get(key)
    here = _HERE.match(said) if said else None
    return None if here and here[1] not in known else said


def filter_meant(name: str) -> str | None:
    """What is said to somebody who calls a filter as others do, or as a method or function."""
    here = name if name in FILTERS else _FILTERS.get(name)
    return f"Use the filter `| {here}`." if here else None


def variable_meant(name: str) -> str | None:
    """What is said to somebody who uses a variable of other tools."""
    here = VARIABLES.get(name)
    return f"It is `{here}`." if here else NO_VARIABLES.get(name)


def syntax_meant(said: str) -> tuple[str, str | None]:
    """What Jinja says of a text, in plain words, and what is written instead."""
    suggestion = next((remedy for sign, remedy in REMEDIES.items() if sign in said), None)
    if (found := _UNEXPECTED.search(said)) is not None:
        return f"`{found[1]}` cannot stand here", suggestion
    if "nexpected end of template" in said:
        return "it is not closed", suggestion
    # Without Jinja's word `token`: with a `:` behind it, what follows looks like a secret and would be hidden.
    said = said.replace("expected token ", "expected ")
    return f"{said[0].lower()}{said[1:]}", suggestion


SCHEMA_WORDS = {
    "options": "It is `enum`.",
    "values": "It is `enum`.",
    "choices": "It is `enum`.",
    "min": "It is `minimum`, of a text `minLength`.",
    "max": "It is `maximum`, of a text `maxLength`.",
    "regex": "It is `pattern`.",
    "defaults": "It is `default`.",
    "displayName": "It is `title`.",
    "label": "It is `title`.",
    "optional": "Leave it out: with a `default` an input is optional.",
}
"""Words for inputs that other tools have, and those of JSON Schema."""
OPERATORS = {
    "PostgresOperator": "SQLExecuteQueryOperator",
    "MySqlOperator": "SQLExecuteQueryOperator",
    "DummyOperator": "EmptyOperator",
}
"""Operators by the names that they had in earlier versions of Airflow."""
_UNEXPECTED = re.compile(r"(?:got |nexpected |unexpected char )'([^'\w\s]+)'(?: at \d+)?$")
