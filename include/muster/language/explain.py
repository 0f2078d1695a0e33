"""Pydantic's findings in plain words, at their place in the file."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from muster.language.foreign import JSON_TYPES, MEANT, said_elsewhere
from muster.language.problems import LanguageError, Problem, did_you_mean, one_of
from muster.language.reading import Path
from muster.language.reserved import ALL_RESERVED, refusal
from muster.language.steps import TAG

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
    problems = {_explain_one(details, model, document) for details in error.errors(include_url=False)}
    return sorted(problems)


def _explain_one(details: ErrorDetails, model: type[BaseModel], document: Located) -> Problem:
    loc = details["loc"]
    path = tuple(part for part in loc if not (isinstance(part, str) and part.startswith(TAG)))
    kind, key = details["type"], str(path[-1]) if path else ""
    suggestion: str | None
    if kind == "extra_forbidden":
        return _unknown_key(key, path, _owner(model, loc[:-1]), _kinds_at(model, loc[:-2]), document)
    if kind == "missing":
        return document.problem(f"`{key}` is missing", path[:-1])
    if kind == "union_tag_not_found":
        return _no_kind(path, _kinds_at(model, loc), document)
    if path and path[-1] == "[key]":
        message, suggestion = _wording(details, path[-2])
        return document.problem(message, path[:-1], key=True, suggestion=suggestion)
    message, suggestion = _wording(details, details["input"])
    if path and path[-1] == "run" and kind == "string_pattern_mismatch" and " " in str(details["input"]):
        suggestion = "`run` names another automation; a command is the BashOperator's: `operator`."
    if suggestion is None:
        suggestion = _commented(path, key, details["input"], document) or _listed(path, kind, details["input"])
    if kind in _MAPPINGS and suggestion is None:
        suggestion = _mapping_meant(path, details["input"])
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
    kind = getattr(owner, "kind", None)
    if kind and (fitting := [name for name, other in others.items() if key in keys_of(other)]):
        only = f"Only {one_of(fitting)} steps take it."
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
        message = f"must be a mapping (lines of `key: value`), not {shown_value(value)}"
        written = _WRITTEN.get(str(path[0]) if path else "", "") if isinstance(value, str) else ""
        return document.problem(message, path, suggestion=f"Write `{written.format(value)}`." if written else None)
    for word in ALL_RESERVED:
        if word in value:
            return document.problem(refusal(word), (*path, word), key=True)
    known = [key for name, kind in kinds.items() for key in getattr(kind, "keys", ()) or (name,)]
    present = [key for key in known if key in value]
    if len(present) > 1:
        message = f"exactly one of {one_of(known)} can stand here, not {' and '.join(f'`{key}`' for key in present)}"
        if isinstance(value.get("needs"), str | list):
            return document.problem("`needs` names no steps", (*path, "needs"), key=True, suggestion="It is `after`.")
        return document.problem(message, (*path, present[-1]), key=True, suggestion="Write two of them, one each.")
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
    return document.problem(f"one of {one_of(known)} is missing", path)


def _swallowed(value: Any, known: Iterable[str]) -> str | None:
    """The key that a text without its closing quote has taken in."""
    return next((key for key in known if isinstance(value, str) and re.search(rf"\s{key}:\s", value)), None)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys a person may write in a model."""
    return [field.alias or name for name, field in model.model_fields.items()]


_KINDS_OF_VALUE: dict[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "bool_type": "true or false",
    "list_type": "a list (lines beginning with `- `, or `[a, b]`)",
    "dict_type": "a mapping (lines of `key: value`)",
    "model_type": "a mapping (lines of `key: value`)",
    "model_attributes_type": "a mapping (lines of `key: value`)",
    "is_instance_of": "a number",
}

_MAPPINGS = ("dict_type", "model_type", "model_attributes_type")

_BOUNDS: dict[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be less than {}"),
    "string_too_short": ("min_length", "must have {} characters or more"),
    "string_too_long": ("max_length", "must have {} characters or fewer"),
    "too_short": ("min_length", "must have {} entries or more"),
    "too_long": ("max_length", "must have {} entries or fewer"),
    "decimal_max_places": ("decimal_places", "must have at most {} decimal places"),
    "decimal_max_digits": ("max_digits", "must have at most {} digits"),
}


def _wording(details: ErrorDetails, value: Any) -> tuple[str, str | None]:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _KINDS_OF_VALUE:
        suggestion = None
        if kind == "string_type" and isinstance(value, int | float):
            suggestion = "Put it in quotes to make it text."
        return f"must be {_KINDS_OF_VALUE[kind]}, not {shown_value(value)}", suggestion
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        if name == "min_length" and context.get(name) == 1:
            return "must not be empty", None
        return words.format(context.get(name)), None
    if kind == "literal_error":
        allowed = typing.cast("str", context["expected"]).replace("'", "`")
        return f"must be {allowed}, not {shown_value(value)}", did_you_mean(value, re.findall("`(.*?)`", allowed))
    if kind == "string_pattern_mismatch":
        return _name_wording(str(context.get("pattern")), value)
    return details["msg"], None


_WRITTEN = {"triggers": 'schedule: "{}"', "steps": "id: {}"}
_NAMED = {"steps": "Begin each step with `- id: …`.", "triggers": "Begin each trigger with `- `."}
_NAMED |= {
    "notify": "Begin it with `- `, or put `[ ]` around it.",
    "inputs": "Write `name: { type: string }` for each.",
}
"""How a list or mapping is written, by its key."""


def _listed(path: Path, kind: str, value: Any) -> str | None:
    """How a list is written for somebody who wrote a mapping, or the other way round."""
    wrong = (kind == "list_type" and isinstance(value, Mapping)) or (kind == "dict_type" and isinstance(value, list))
    return _NAMED.get(str(path[-1])) if wrong and path else None


def _commented(path: Path, key: str, value: Any, document: Located) -> str | None:
    """The text in quotes for somebody whose value begins with `#`, and so is a comment."""
    if value is not None or not path:
        return None
    match = re.search(rf"{re.escape(key)}:\s+(#\S.*?)\s*$", document.problem("", path, key=True).snippet)
    return f'What begins with `#` is a comment: write `{key}: "{match[1]}"`.' if match else None


def _mapping_meant(path: Path, value: Any) -> str | None:
    """The mapping that a person means who writes one value."""
    key = str(path[-1]) if path else ""
    if path[:1] == ("inputs",) and len(path) == 2:
        return f"Write `{key}: {{ type: {value} }}`." if value in JSON_TYPES else None
    written, kind = MEANT.get(key, ("", ()))
    return f"Write `{key}: {written.format(value)}`." if type(value) in kind else None


def _name_wording(pattern: str, value: Any) -> tuple[str, str | None]:
    if r"\w" in pattern:
        return f"`{value}` is not an import path such as `package.module.Class`", None
    if r"\." in pattern:
        return f"`{value}` is not a skill's name: write `<domain>.<verb_noun>` in lower case", None
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
