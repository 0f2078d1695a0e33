"""Writes `docs/language.md` and the JSON Schemas beside it: `python -m muster.language.reference docs`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from muster.agents.spec import AgentFile, AgentLimits, AgentSpec
from muster.language import examples, filters
from muster.language.automation import (
    Automation,
    Budget,
    Deadline,
    Files,
    FilesTrigger,
    FolderDefaults,
    ScheduleTrigger,
    SkillCheck,
    SqlCheck,
    StepDefaults,
)
from muster.language.explain import keys_of
from muster.language.personal import Personal
from muster.language.schema import SCHEMAS, as_text
from muster.language.steps import (
    STEP_KINDS,
    AgentFallback,
    ClassRetry,
    EmailTarget,
    Escalation,
    Human,
    MappedStep,
    Needs,
    Retry,
    SkillFallback,
    SlackTarget,
    StepBase,
    Way,
    WorkStep,
)
from muster.language.words import NOT_YET

PAGE = "language.md"

_KIND_PARTS: dict[str, list[type[BaseModel]]] = {
    "agent": [Needs],
    "human": [Human, Escalation],
    "notify": [SlackTarget, EmailTarget],
    "branch": [Way],
}

_INTRODUCTION = """# The language

<!-- Written by `python -m muster.language.reference docs` from the models; edit those, not this page. -->

A business process is one YAML file, an *automation*, in `include/automations/<category>/`. Muster checks
it, resolves it to a *definition* with a hash of its own, and compiles that to one Airflow Dag. A run
belongs to the definition it started with. `muster lint` says what is wrong with a file and where; editors
say it while you type when the file begins with `# yaml-language-server: $schema=<path
to>/docs/automation.schema.json`.

```yaml
{first}```

The YAML is YAML 1.2: `no`, `on` and `2026-01-31` are text, and so is a number with a leading zero. A key
twice in a mapping, tags, merge keys and more than one document are refused, and so is a file that is not
UTF-8 or larger than 1 MB. Durations are written `30s`, `5m`, `24h`, `1d`, or together: `1h30m`.
"""

_EXPRESSIONS = """## Expressions

`{{ … }}` is [Jinja](https://jinja.palletsprojects.com/) in a sandbox. Expressions can stand in `when`,
`each`, `with`, `ask`, `human`, `notify`, `branch` and `fallback`; in triggers and deadlines only
`settings` are known.

| variable | what it is |
| --- | --- |
| `inputs.<name>` | what the run was given |
| `steps.<id>` | the output of a step that comes before; null when it was skipped |
| `settings.<name>` | the settings |
| `run.id`, `run.automation`, `run.requested_by`, `run.opened_at` | the run itself |
| `item`, `index` | in a step with `each`: the item, and its position from 0 |

- A text that is one expression and nothing else keeps the value's type: a list stays a list, an amount a
  decimal, a date a date. An expression inside a longer text becomes text: a list or mapping as JSON, null
  as nothing.
- `when` is one expression and nothing else. A number is true unless it is 0, a list or mapping unless it is
  empty, null never. Text is neither, because `"false"` and `"no"` would be true: `muster lint` refuses what can
  only be text, and a condition that gives text fails its step.
- Values are plain data. `a.b` is the key `b` of the mapping `a`, whatever its name; there are no methods,
  no attributes and no functions but `range`.
- What is not there is an error that names it, unless you ask: `{{ steps.read.note is defined }}`, `{{
  steps.read.note | default("none") }}`.
- `{% if %}` and `{% for %}` can be used in longer texts. Loops, texts and numbers are bounded.
- `each` passes over null, so positions stay the same down a chain of fan-outs: `{{ steps.approve[index]
  }}` is the approval of this item.

The filters of Muster's own; besides these there are Jinja's {jinja}.

{own}"""

_MERGING = """## Settings, defaults, and files that extend others

Values come from these places; a later one wins, mappings are merged key by key, and null removes:

1. `settings.yaml`, then `settings.<environment>.yaml` for the environment that `MUSTER_ENVIRONMENT` names;
2. `_defaults.yaml` of each folder, from `automations/` down to the automation's own;
3. the file named by `extends`, and those it extends;
4. the automation itself.

Settings are plain values without expressions, and no secrets: they are stored with every run. What its name or its
looks call a secret is refused; [keep it in an Airflow connection](operating.md#secrets-and-personal-data). Without its
settings no automation runs: a mistake in `settings.yaml` stops all of them.

A file whose name begins with `_` is no automation.

```yaml
# settings.yaml
{settings}```

```yaml
# automations/office/_defaults.yaml
{defaults}```

With `extends`, steps are merged by their `id`. A step of another kind replaces the one it extends. A new
step stands behind the one written above it, or at the end when it is the first.

```yaml
# automations/office/_letter.yaml
{base}```

```yaml
{extending}```
"""

_SKILLS = """## A site's own skills

A skill is a typed Python function in `include/skills/*.py`. `muster lint` reads names, lanes and
parameters from the source without importing it, so the arguments of `@skill` are literals.

```python
{skills}```
"""


def page() -> str:
    """The text of `docs/language.md`."""
    return "\n".join([
        _INTRODUCTION.replace("{first}", examples.FIRST),
        "## The automation\n",
        _tables([Automation, ScheduleTrigger, FilesTrigger, Files, Deadline, SqlCheck, SkillCheck]),
        _tables([Budget, Personal, StepDefaults]),
        _steps(),
        _fill(_EXPRESSIONS, jinja=_jinja_filters(), own=_filter_table()),
        _fill(
            _MERGING,
            settings=examples.SETTINGS,
            defaults=examples.DEFAULTS,
            base=examples.BASE,
            extending=examples.EXTENDING,
        ),
        _tables([FolderDefaults]),
        "## Agents\n\n```yaml\n# agents/office.yaml\n" + examples.AGENTS + "```\n",
        _tables([AgentFile, AgentSpec, AgentLimits]),
        _fill(_SKILLS, skills=examples.SKILLS),
        _later(),
    ])  # fmt: skip


def write(docs: Path) -> None:
    """Write the page and the schemas into a folder."""
    for name, text in files().items():
        (docs / name).write_text(text, encoding="utf-8")


def files() -> dict[str, str]:
    """The generated files by name."""
    return {PAGE: page(), **{name: as_text(schema()) for name, schema in SCHEMAS.items()}}


def _fill(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _steps() -> str:
    names = ", ".join(f"`{kind}`" for kind in STEP_KINDS)
    parts = [
        f"## Steps\n\nA step is exactly one of {names}. Every step has:\n",
        _table(StepBase),
        "All but `branch` can be repeated for the items of a list:\n",
        _table(MappedStep, without=StepBase),
        "`skill`, `agent`, `notify` and `operator` perform work, so they have besides:\n",
        _table(WorkStep, without=MappedStep),
        _tables([Retry, ClassRetry, SkillFallback, AgentFallback], level=3),
    ]
    for kind, model in STEP_KINDS.items():
        base = next(other for other in (WorkStep, MappedStep, StepBase) if issubclass(model, other))
        parts.append(f"### {kind}\n\n{_summary(model)}\n\n{_table(model, without=base)}")
        parts.append(_tables(_KIND_PARTS.get(kind, []), level=4))
        parts.append(f"```yaml\n{examples.KINDS[kind]}```\n")
    return "\n".join(part for part in parts if part)


def _tables(models: Iterable[type[BaseModel]], level: int = 3) -> str:
    return "\n".join(f"{'#' * level} {model.__name__}\n\n{_summary(model)}\n\n{_table(model)}" for model in models)


def _summary(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("\n", " ")


def _table(model: type[BaseModel], without: type[BaseModel] | None = None) -> str:
    schema = model.model_json_schema(by_alias=True)
    left_out = set(keys_of(without)) if without else set()
    rows = ["| key | value | meaning |", "| --- | --- | --- |"]
    for name, described in schema["properties"].items():
        if name not in left_out:
            required = " (required)" if name in schema.get("required", ()) else ""
            meaning = " ".join(described.get("description", "").split()) + _default(described)
            rows.append(f"| `{name}` | {_kind(described)}{required} | {meaning} |".replace("||", "|"))
    return "\n".join(rows) + "\n"


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    if value in (None, "", []) or isinstance(value, dict):
        return ""
    shown = ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
    return f" Default: `{shown}`."


_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
}


def _kind(schema: dict[str, Any]) -> str:
    """What a value is, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.removesuffix('Step').lower()})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        kinds = [_kind(choice) for choice in choices if choice.get("type") != "null"]
        if _USD in choices:
            return "amount in USD"
        return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        items = schema.get("items") or {}
        return "list of " + _kind(items) if items else "list"
    if "pattern" in schema and "30m" in schema.get("examples", ()):
        return "duration"
    return _WORDS.get(schema.get("type", ""), "any value")


_USD = {"minimum": 0.0, "type": "number"}


def _filter_table() -> str:
    own = {name: function for name, function in filters.FILTERS.items() if function.__module__ == filters.__name__}
    rows = ["| filter | what it gives |", "| --- | --- |"]
    rows += [f"| `{name}` | {(inspect.getdoc(own[name]) or '').splitlines()[0]} |" for name in sorted(own)]
    return "\n".join(rows) + "\n"


def _jinja_filters() -> str:
    names = [name for name, function in filters.FILTERS.items() if function.__module__ != filters.__name__]
    return ", ".join(f"`{name}`" for name in sorted(names))


def _later() -> str:
    words = [f"`{word}` (in a {place})" for place, found in NOT_YET.items() for word in found]
    return f"## Not available yet\n\nThese words are reserved and refused by name: {', '.join(words)}.\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
