"""Writes `docs/language.md` and the JSON Schemas beside it: `python -m muster.language.reference docs`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from muster.agents.spec import AgentFile, AgentLimits, AgentSpec
from muster.isolation.spec import Command, CommandLimits
from muster.language import agent_examples, examples, expressions, filters, folder, prose, reading, sandbox, source
from muster.language.automation import Automation, Budget, Deadline, FolderDefaults, SkillCheck, SqlCheck, StepDefaults
from muster.language.explain import keys_of
from muster.language.kinds import KINDS
from muster.language.personal import Personal
from muster.language.problems import one_of
from muster.language.reserved import RESERVED_KEYS
from muster.language.resolve import LONGEST_UNDOING, PERSISTENT
from muster.language.schema import SCHEMAS, as_text
from muster.language.shares import EXAMPLE, Context, Shares
from muster.language.steps import (
    AgentFallback,
    ClassRetry,
    Compensation,
    MappedStep,
    Retry,
    SkillFallback,
    StepBase,
    WorkStep,
)
from muster.language.triggers import TRIGGERS

PAGE = "language.md"


def page() -> str:
    """The text of `docs/language.md`."""
    return "\n".join([
        prose.INTRODUCTION.replace("{first}", examples.FIRST),
        f"## The automation\n\n{_yaml(examples.AUTOMATION)}",
        _tables([Automation, *_triggers(), Deadline, SqlCheck, SkillCheck]),
        _tables([Budget, Personal]),
        _yaml(examples.PERSONAL),
        _tables([Context, Shares]),
        _yaml(EXAMPLE),
        _tables([StepDefaults]),
        _steps(),
        _fill(prose.ENDINGS, rejected=examples.REJECTED, set_aside=examples.SET_ASIDE, failing=examples.FAILING),
        _fill(prose.EXPRESSIONS, jinja=_jinja_filters(), own=_filter_table()),
        _fill(
            prose.MERGING,
            settings=examples.SETTINGS,
            defaults=examples.DEFAULTS,
            base=examples.BASE,
            extending=examples.EXTENDING,
        ),
        _tables([FolderDefaults]),
        "## The files of agents\n\n```yaml\n# agents/office.yaml\n" + agent_examples.AGENTS + "```\n",
        _tables([AgentFile, AgentSpec, AgentLimits, Command, CommandLimits]),
        _fill(prose.SKILLS, skills=examples.SKILLS),
        _fill(prose.BOUNDS, rows="\n".join(f"| {what} | {most} |" for what, most in BOUNDS.items())),
        _later(),
    ])  # fmt: skip


BOUNDS = {
    "a file": f"{source.MAX_BYTES // 1_000_000} MB",
    "values in a file, aliases written out": f"{reading.MAX_VALUES:,}",
    "levels of nesting in a file": f"{reading.MAX_DEPTH}",
    "files that extend each other": f"{folder.MAX_CHAIN}",
    "a text, with its expressions": f"{expressions.MAX_LENGTH:,} characters",
    "levels of nesting in an expression": f"{expressions.MAX_DEPTH}",
    "what an expression makes of a text": f"{filters.MAX_TEXT:,} characters",
    "rounds of all loops of a text": f"{sandbox.MAX_ITERATIONS:,}",
    "numbers of a `range`": f"{sandbox.MAX_RANGE:,}",
    "a text made with `*`": f"{sandbox.MAX_REPEAT:,} characters",
    "a whole number that is worked out": f"{sandbox.MAX_BITS:,} bits",
}
"""What is bounded beside single keys."""


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
    names = ", ".join(f"`{kind}`" for kind in KINDS)
    parts = [
        f"## Steps\n\nA step is exactly one of {names}. Every step has:\n",
        _table(StepBase),
        f"All but {_kinds(MappedStep, are=False)} can be repeated for the items of a list:\n",
        _table(MappedStep, without=StepBase),
        f"{_kinds(WorkStep)} perform work, so they have besides:\n",
        _table(WorkStep, without=MappedStep),
        _yaml(examples.STEPS),
        _tables([Retry, ClassRetry, Compensation]),
        _compensating(),
        _tables([SkillFallback, AgentFallback]),
        _fill(prose.OUTPUTS, table=_output_table()),
    ]
    for name, kind in KINDS.items():
        base = next(other for other in (WorkStep, MappedStep, StepBase) if issubclass(kind.model, other))
        parts.append(f"### {name}\n\n{_summary(kind.model)}\n\n{_table(kind.model, without=base)}")
        parts.append(_tables(kind.parts, level=4))
        parts.append(_yaml(kind.example))
    return "\n".join(part for part in parts if part)


def _compensating() -> str:
    minutes = f"{LONGEST_UNDOING / 60:g}"
    return _fill(prose.COMPENSATING, example=examples.COMPENSATING, times=str(PERSISTENT.times), minutes=minutes)


def _yaml(text: str) -> str:
    return f"```yaml\n{text}```\n"


def _output_table() -> str:
    rows = ["| kind | what it puts out | for example |", "| --- | --- | --- |"]
    rows += [f"| [{name}](#{name}) | {kind.output} | `{kind.output_example}` |" for name, kind in KINDS.items()]
    return "\n".join(rows) + "\n"


def _kinds(model: type[StepBase], *, are: bool = True) -> str:
    """The kinds of step that have all that a model has, or those that do not, for a sentence."""
    return one_of(name for name, kind in KINDS.items() if issubclass(kind.model, model) is are).replace(" or ", " and ")


def _triggers() -> list[type[BaseModel]]:
    return [model for kind in TRIGGERS.values() for model in (kind.model, *kind.parts)]


def _tables(models: Iterable[type[BaseModel]], level: int = 3) -> str:
    words = headings()
    return "\n".join(
        f"{'#' * level} {words[model.__name__]}\n\n{_summary(model)}\n\n{_table(model)}" for model in models
    )


@cache
def headings() -> Mapping[str, str]:
    """For each model of the language, by its class's name, the words that a person writes where it is meant."""
    roots: dict[type[BaseModel], str] = {Automation: "automation", FolderDefaults: "_defaults.yaml"}
    # Two models have a key `limits`.
    roots |= {CommandLimits: "limits of a command"}
    roots |= {AgentFile: "agents/&lt;department&gt;.yaml"} | {kind.model: name for name, kind in KINDS.items()}
    named = {model.__name__: words for model, words in roots.items()}

    def look_into(model: type[BaseModel]) -> None:
        for key, models in _inside(model):
            for inner in models:
                if inner.__name__ not in named:
                    words = key if len(models) == 1 else f"{key}: {_own_key(inner)}"
                    named[inner.__name__] = f"under {words}" if words in KINDS else words
                    look_into(inner)

    for root in roots:
        look_into(root)
    return named


def _inside(model: type[BaseModel]) -> Iterator[tuple[str, list[type[BaseModel]]]]:
    """The keys of a model that hold models, and which."""
    for name, field in model.model_fields.items():
        if models := list(dict.fromkeys(_models(field.annotation))):
            yield field.alias or name, models


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _own_key(model: type[BaseModel]) -> str:
    """The first key that a model has beside those of its base: it tells it apart from others."""
    return next(name for name in model.model_fields if name in model.__annotations__)


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _table(model: type[BaseModel], without: type[BaseModel] | None = None) -> str:
    schema = model.model_json_schema(by_alias=True)
    left_out = set(keys_of(without)) if without else set()
    rows = ["| key | value | meaning |", "| --- | --- | --- |"]
    for name, described in schema["properties"].items():
        if name not in left_out:
            required = " (required)" if name in schema.get("required", ()) else ""
            meaning = " ".join(described.get("description", "").split()) + _default(described) + _bounds(described)
            rows.append(f"| `{name}` | {_kind(described)}{required} | {meaning} |".replace("||", "|"))
    return "\n".join(rows) + "\n"


def _default(schema: dict[str, object]) -> str:
    value = schema.get("default")
    if value in (None, "", []) or isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        value = str(value).lower()
    shown = ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
    return f" Default: `{shown}`."


def _bounds(schema: dict[str, Any]) -> str:
    """The bounds of a value, in a sentence with a space before it; none of a text that is as long as any."""
    for part in (schema, *schema.get("anyOf", ())):
        low, high = part.get("minimum"), part.get("maximum")
        if low is not None:
            return f" From {low:,g} to {high:,g}." if high is not None else f" At least {low:g}."
        if part.get("maxLength", expressions.MAX_LENGTH) < expressions.MAX_LENGTH and "pattern" not in part:
            return f" At most {part['maxLength']} characters."
    return f" At most {schema['maxItems']}." if "maxItems" in schema else ""


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
        words = headings()[schema["$ref"].rpartition("/")[2]]
        return f"[{words}](#{anchor(words)})"
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


def anchor(heading: str) -> str:
    """What a heading is called in a link."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"&\w+;", "", heading).lower()).replace(" ", "-")


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
    words = [f"`{word}` (in a {place})" for place, reserved in RESERVED_KEYS.items() for word in reserved]
    return f"## Not available yet\n\nThese words are reserved and refused by name: {', '.join(words)}.\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
