"""Pydantic's findings in plain words, at their place in the file."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from muster.language.durations import duration_meant
from muster.language.foreign import JSON_TYPES, MEANT, MISSING, NOT_TAKEN, SENTENCES, TYPES, said_elsewhere
from muster.language.importing import operators_named
from muster.language.problems import LanguageError, Problem, all_of, did_you_mean, one_of
from muster.language.reading import Path
from muster.language.reserved import ALL_RESERVED, refusal
from muster.language.steps import TAG
from muster.misfits import KINDS_OF_VALUE, bound_in_words

M = TypeVar("M", bound=BaseModel)


class Located(Protocol):
    """Data that knows where each of its values stands."""

    @property
    def data(self) -> Any:
        """The plain data."""

    def problem(
        self,
        message: str,
        path: Path = (),
        *,
        key: bool = False,
        suggestion: str | None = None,
        offset: int = 0,
    ) -> Problem:
        """A problem at a value, or at its key."""


def validate(model: type[M], document: Located) -> M:
    """The document as a model. Raises LanguageError with every mistake located."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise LanguageError(explain(error, model, document)) from None


def explain(error: ValidationError, model: type[BaseModel], document: Located) -> list[Problem]:
    """One problem for each mistake, in the order of the file."""
    found = [(details, _explain_one(details, model, document)) for details in error.errors(include_url=False)]
    unknown = [(details["loc"], problem) for details, problem in found if details["type"] == "extra_forbidden"]
    # A key with a misspelt name is told as that, and not as missing too.
    named = {(*loc[:-1], said[1]) for loc, problem in unknown if (said := _IS_NAMED.match(problem.suggestion or ""))}
    wrapped = [loc for loc, _ in unknown if len(loc) == 1 and _wraps_automation(document.data[loc[0]], keys_of(model))]
    return sorted(
        {
            problem
            for details, problem in found
            if details["type"] != "missing" or not (details["loc"] in named or (wrapped and len(details["loc"]) == 1))
        }
    )


_IS_NAMED = re.compile(r"(?:It is|It stands under|Did you mean) `(\w+)`")
"""What is said of a key that has another name here."""


def _wraps_automation(value: Any, known: Iterable[str]) -> bool:
    """True for what stands under the name of a Dag, as dag-factory has it: it has steps, or what is called so there."""
    keys = value if isinstance(value, Mapping) else ()
    return any(key == "steps" or said_elsewhere(str(key), [*known]) == "It is `steps`." for key in keys)


def _explain_one(details: ErrorDetails, model: type[BaseModel], document: Located) -> Problem:
    loc = details["loc"]
    path = tuple(part for part in loc if not (isinstance(part, str) and part.startswith(TAG)))
    kind, key = details["type"], str(path[-1]) if path else ""
    suggestion: str | None
    if kind == "extra_forbidden":
        return _unknown_key(key, path, _owner(model, loc[:-1]), _kinds_at(model, loc[:-2]), document)
    if kind == "missing":
        return document.problem(f"`{key}` is missing", path[:-1], suggestion=MISSING.get(key))
    if not loc:
        begin = "Begin it with `automation: name`; a list of steps stands under `steps`."
        suggestion = begin if "automation" in keys_of(model) else None
        return document.problem(f"the file {_wording(details, details['input'])[0]}", suggestion=suggestion)
    if kind == "union_tag_not_found":
        return _no_kind(path, _kinds_at(model, loc), document)
    if path and path[-1] == "[key]":
        message, suggestion = _wording(details, path[-2])
        return document.problem(message, path[:-1], key=True, suggestion=suggestion)
    message, suggestion = _wording(details, details["input"])
    if key == "operator" and kind == "string_pattern_mismatch":
        installed = operators_named(str(details["input"]))
        suggestion = f"Write `{installed[0]}`." if installed else None
    if kind == "string_pattern_mismatch" and " " in str(details["input"]):
        suggestion = SENTENCES.get(key, suggestion)
    if suggestion is None:
        suggestion = _commented(path, key, details["input"], document) or _shape_meant(details, path, model)
    if key and kind != "string_pattern_mismatch":
        message = f"`{key}` {message}" if isinstance(path[-1], str) else f"entry {path[-1] + 1} {message}"
    return document.problem(message, path, suggestion=suggestion)


def _unknown_key(
    key: str, path: Path, owner: type[BaseModel] | None, others: Mapping[str, type[BaseModel]], document: Located
) -> Problem:
    known = keys_of(owner) if owner else []
    if key in ALL_RESERVED:
        return document.problem(refusal(key), path, key=True)
    if said := said_elsewhere(key, known):
        return document.problem(f"unknown key `{key}`", path, key=True, suggestion=said)
    if len(path) == 1 and _wraps_automation(document.data[key], known):
        message = f"`{key}` is no key of an automation: its name stands behind `automation`"
        remedy = f"Write `automation: {key}`, and what stands below it without indentation, in a file of its own."
        return document.problem(message, path, key=True, suggestion=remedy)
    kind = getattr(owner, "kind", None)
    if kind and (fitting := [name for name, other in others.items() if key in keys_of(other)]):
        only = NOT_TAKEN.get((kind, key)) or f"Only {one_of(fitting)} steps take it."
        return document.problem(f"{a(kind)} step takes no `{key}`", path, key=True, suggestion=only)
    suggestion = did_you_mean(key, known) or (f"Known here: {', '.join(known)}." if known else None)
    if kind and "with" in known and not did_you_mean(key, known):
        suggestion = f"Arguments stand under `with`: `with: {{ {key}: … }}`. {suggestion}"
    return document.problem(f"unknown key `{key}`", path, key=True, suggestion=suggestion)


def _no_kind(path: Path, kinds: Mapping[str, type[BaseModel]], document: Located) -> Problem:
    value: Any = document.data
    for part in path:
        value = value[part]
    if not isinstance(value, Mapping):
        subject = f"entry {path[-1] + 1}" if path and isinstance(path[-1], int) else f"`{path[-1]}`" if path else "it"
        message = f"{subject} must be a mapping (lines of `key: value`), not {shown_value(value)}"
        alone = "Only one can stand here: write it without `- `." if isinstance(value, list) else None
        return document.problem(message, path, suggestion=alone or _mapping_meant(path, value))
    for word in ALL_RESERVED:
        if word in value:
            return document.problem(refusal(word), (*path, word), key=True)
    known = [key for name, kind in kinds.items() for key in getattr(kind, "keys", ()) or (name,)]
    present = [key for key in known if key in value]
    if len(present) > 1:
        message = f"exactly one of {one_of(known)} can stand here, not {' and '.join(f'`{key}`' for key in present)}"
        if isinstance(needs := value.get("needs"), str | list):
            message = "`needs` says what an agent must be able to do, and names no steps"
            earlier = needs if isinstance(needs, str) else f"[{', '.join(map(str, needs))}]"
            return document.problem(message, (*path, "needs"), key=True, suggestion=f"Write `after: {earlier}`.")
        leave = "Leave one of them out, or write an entry for each."
        return document.problem(message, (*path, present[-1]), key=True, suggestion=leave)
    shared = keys_of(next(iter(kinds.values()))) if kinds else []
    any_kind = {*shared, *(key for kind in kinds.values() for key in keys_of(kind))}
    for key in value:
        if said := said_elsewhere(key, any_kind):
            return document.problem(f"unknown key `{key}`", (*path, key), key=True, suggestion=said)
        if (swallowed := _swallowed(value[key], known)) is not None:
            message = f"a quote is not closed: the text of `{key}` goes on to `{swallowed}:`"
            return document.problem(message, (*path, key), suggestion="Close it at the end of the text.")
        if near := did_you_mean(key, known):
            return document.problem(f"unknown key `{key}`", (*path, key), key=True, suggestion=near)
    strange = [str(key) for key in value if key not in any_kind]
    suggestion = f"{all_of(strange)} {'is' if len(strange) == 1 else 'are'} not known here." if strange else None
    suggestion = suggestion or f"Write one of them, for example `{known[0]}: …`."
    return document.problem(f"one of {one_of(known)} is missing", path, suggestion=suggestion)


def _swallowed(value: Any, known: Iterable[str]) -> str | None:
    """The key that a text without its closing quote has taken in."""
    return next((key for key in known if isinstance(value, str) and re.search(rf"\s{key}:\s", value)), None)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys a person may write in a model."""
    return [field.alias or name for name, field in model.model_fields.items()]


_SHAPES = {"a list": " (lines beginning with `- `, or `[a, b]`)", "a mapping": " (lines of `key: value`)"}
"""How a list or a mapping is written."""


def _wording(details: ErrorDetails, value: Any) -> tuple[str, str | None]:
    kind, context = details["type"], details.get("ctx", {})
    if kind in KINDS_OF_VALUE:
        wanted = KINDS_OF_VALUE[kind]
        return f"must be {wanted}{_SHAPES.get(wanted, '')}, not {shown_value(value)}", _value_meant(kind, value)
    if (bound := bound_in_words(details)) is not None:
        return bound, None
    if kind == "literal_error":
        allowed = typing.cast("str", context["expected"]).replace("'", "`")
        choices = re.findall("`(.*?)`", allowed)
        meant = did_you_mean(value, choices) or (f"Write {allowed}, or leave it out." if len(choices) == 1 else None)
        return f"must be {allowed}, not {shown_value(value)}", meant
    if kind == "string_pattern_mismatch":
        return _name_wording(str(context.get("pattern")), value)
    return details["msg"], duration_meant(value) if kind == "duration" else None


def _value_meant(kind: str, value: Any) -> str | None:
    """The number, the truth value or the text that a person means who wrote another value."""
    if isinstance(value, str) and "{{" in value:
        return "No expression can stand here."
    if kind == "string_type" and isinstance(value, list):
        return "Only one can stand here: write an entry for each."
    if kind == "string_type" and isinstance(value, int | float):
        return "Put it in quotes to make it text."
    if kind == "bool_type" and isinstance(value, str) and (meant := _TRUTHS.get(value.lower())):
        return f"Write `{meant}`{', without quotes' if meant == value.lower() else ''}."
    if "number" in KINDS_OF_VALUE[kind] and isinstance(value, str) and (found := _ONE_NUMBER.fullmatch(value)):
        return f"Write `{found[1].replace(',', '.')}`."
    return None


_TRUTHS = dict.fromkeys(("true", "yes", "on", "y"), "true") | dict.fromkeys(("false", "no", "off", "n"), "false")
_ONE_NUMBER = re.compile(r"[^\d.,-]*(\d+(?:[.,]\d{1,2})?)[^\d.,]*")
"""A number with a currency or a unit."""


_NAMED = {
    "steps": "Begin each step with `- id: …`.",
    "triggers": "Begin each trigger with `- `.",
    "inputs": "Write `name: { type: string }` for each.",
}
"""How a list or mapping is written, by its key."""


def _shape_meant(details: ErrorDetails, path: Path, model: type[BaseModel]) -> str | None:
    """How a list or a mapping is written for somebody who wrote the other one, or a single value."""
    kind, value, key = details["type"], details["input"], str(path[-1]) if path else ""
    if kind == "list_type":
        if isinstance(value, Mapping):
            return _NAMED.get(key, "Begin it with `- `, or put `[ ]` around it.")
        entry = (*details["loc"], 0)
        if (meant := _mapping_meant(path, value, listed=True)) is not None:
            return meant
        is_plain = _owner(model, entry) is None and not _kinds_at(model, entry)
        return f"Write `{key}: [{value}]`." if is_plain and isinstance(value, str | int | float) else None
    if kind not in ("dict_type", "model_type", "model_attributes_type"):
        return None
    if isinstance(value, list):
        each = "Write `name: value` for each, without `- `."
        return _NAMED.get(key, each) if kind == "dict_type" else "Only one can stand here: write it without `- `."
    return _mapping_meant(path, value)


def _commented(path: Path, key: str, value: Any, document: Located) -> str | None:
    """The text in quotes for somebody whose value begins with `#`, and so is a comment."""
    if value is not None or not path:
        return None
    match = re.search(rf"{re.escape(key)}:\s+(#\S.*?)\s*$", document.problem("", path, key=True).snippet)
    return f'What begins with `#` is a comment: write `{key}: "{match[1]}"`.' if match else None


def _mapping_meant(path: Path, value: Any, *, listed: bool = False) -> str | None:
    """The mapping that a person means who writes one value; a list of one, where it is `listed`."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    if isinstance(value, Mapping | list | None):
        return None
    if path[:1] == ("inputs",) and len(path) == 2:
        kind = value if value in JSON_TYPES else TYPES.get(str(value).lower())
        schema = f"type: {kind}" if kind else _schema_of(value)
        return f"Write `{key}: {{ {schema} }}`."
    if key not in MEANT:
        return None
    written, pattern, example = MEANT[key]
    found = re.search(pattern, str(value), re.DOTALL)
    text = written.format(*(found.groups("*") if found else example.split(" ", written.count("{}") - 1)))
    return f"Write `{text}`." if path[-1] != key else f"Write `{key}: {f'[{text}]' if listed else text}`."


def _schema_of(value: Any) -> str:
    """The schema of an input of which somebody has written the value."""
    kinds = {bool: "boolean", int: "integer", float: "number"}
    return (
        f"type: {kinds.get(type(value), 'string')}, default: {str(value).lower() if value in (True, False) else value}"
    )


def _name_wording(pattern: str, value: Any) -> tuple[str, str | None]:
    if r"\w" in pattern:
        return f"`{value}` is not an import path such as `package.module.Class`", None
    if r"\." in pattern:
        called = re.match(r"([a-z]\w*(?:\.\w+)+)\(", str(value))
        listed = "`muster skill --list` shows the names of all there are."
        meant = f"Write `{called[1]}`, and its arguments under `with`." if called else listed
        return f"`{value}` is not a skill's name: write `<domain>.<verb_noun>` in lower case", meant
    plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in str(value).strip().lower()).strip("_")
    suggestion = f"Write `{plain}`." if plain[:1].isalpha() else None
    return f"`{value}` is not a name: lower-case letters, digits and `_`, beginning with a letter", suggestion


def shown_value(value: Any) -> str:
    """How a message names a value of the file."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    return f"{'the text ' if isinstance(value, str) else ''}`{text[:60] + '…' if len(text) > 60 else text}`"


def a(word: str) -> str:
    """The word with its article."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _owner(model: type[BaseModel], loc: Iterable[str | int]) -> type[BaseModel] | None:
    """The model that a location in an error leads to."""
    target = _follow(model, loc)
    return target if isinstance(target, type) and issubclass(target, BaseModel) else None


def _kinds_at(model: type[BaseModel], loc: Iterable[str | int]) -> dict[str, type[BaseModel]]:
    """The models that can stand at a location, by the name of their kind; empty where there is no choice."""
    return {tag.removeprefix(TAG): kind for tag, kind in _tagged(_follow(model, loc)).items()}


def _follow(kind: Any, loc: Iterable[str | int]) -> Any:
    for part in loc:
        kind = _inner(kind, part)
    return _strip(kind, lambda kind: not _tagged(kind))


def _inner(kind: Any, part: str | int) -> Any:
    if isinstance(part, str) and part.startswith(TAG):
        return _tagged(_strip(kind, lambda kind: not _tagged(kind))).get(part)
    kind = _strip(kind, lambda kind: True)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return next((f.annotation for name, f in kind.model_fields.items() if (f.alias or name) == part), None)
    arguments = typing.get_args(kind)
    return arguments[-1] if arguments else None


def _strip(kind: Any, go_on: Callable[[Any], bool]) -> Any:
    """Without `Annotated` and `| None` around it."""
    while go_on(kind):
        arguments = [argument for argument in typing.get_args(kind) if argument is not types.NoneType]
        origin = typing.get_origin(kind)
        is_union = origin in (typing.Union, types.UnionType)
        if origin is typing.Annotated or (is_union and len(arguments) == 1):
            kind = arguments[0]
        else:
            break
    return kind


def _tagged(kind: Any) -> dict[str, Any]:
    """The members of a tagged union by tag; empty when it is none."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    members = {}
    for member in typing.get_args(kind):
        for extra in getattr(member, "__metadata__", ()):
            if isinstance(extra, Tag):
                members[extra.tag] = typing.get_args(member)[0]
    return members
