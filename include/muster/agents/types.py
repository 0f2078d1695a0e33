"""What `returns` means: a type by name or a JSON Schema, turned into validation and plain data."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError, WithJsonSchema

from muster.errors import PermanentError
from muster.misfits import misfits
from muster.skills.registry import get_skill, import_site_module

Returns = str | Mapping[str, object]
"""A type's name (`finance.CodedInvoice`, `list[finance.CodedInvoice]`), `skill:<name>` for what a skill
returns, or a JSON Schema."""
WIDEST = 2_000
"""Columns of a row, or keys of a mapping, that have a type each; of more all have one together."""
_LISTS = (list, tuple, set, frozenset)


@dataclass(frozen=True, eq=False)
class OutputType:
    """A resolved `returns`."""

    returns: Returns
    """What it was resolved from."""
    annotation: object
    """The Python type, for those who build on type annotations."""
    adapter: TypeAdapter[object]

    def dump(self, value: object) -> object:
        """`value`, validated before, as JSON-ready data: decimals and dates become strings."""
        return self.adapter.dump_python(value, mode="json")

    def check(self, value: object) -> object:
        """JSON-ready data in the type's own form.

        Raises:
            PermanentError: `value` does not fit; the message names each place.
        """
        return self.dump(self._validated(value))

    def hydrate(self, value: object) -> object:
        """Plain Python data out of JSON-ready data: mappings, lists and scalars, with `Decimal` and dates.

        Raises:
            PermanentError: `value` does not fit.
        """
        return plain(self.adapter, self._validated(value))

    def _validated(self, value: object) -> object:
        try:
            return self.adapter.validate_python(value)
        except ValidationError as error:
            places = "; ".join(misfits(error)[:5])
            name = self.returns if isinstance(self.returns, str) else "value of its schema"
            raise PermanentError(f"This is not a {name}: {places}.") from error


def resolve(returns: Returns, site: Path | None = None) -> OutputType:
    """The output type `returns` names or describes; `site` is the folder of a site's own skills.

    Raises:
        PermanentError: there is no such type, or the schema is not a usable one.
    """
    return _named(returns, site) if isinstance(returns, str) else _described(json.dumps(returns))


def hydrate(returns: Returns | None, value: object, site: Path | None = None) -> object:
    """Plain Python data out of JSON-ready data of the type `returns`; the data unchanged if there is no type.

    A schema is taken as the log has it: self-contained. The value is not checked again, because it fitted when it was
    written.
    """
    if returns is None or value is None:
        return value
    return resolve(returns, site).hydrate(value) if isinstance(returns, str) else _hydrated(value, returns)


def plain(adapter: TypeAdapter[object], value: object) -> object:
    """A validated value as mappings, lists and scalars; `Decimal` and dates stay what they are."""
    return _plain(adapter.dump_python(value))


def _plain(value: object) -> object:
    match value:
        # An `Enum` may be a text or a number as well, and then its value is meant.
        case None | bool() | int() | float() | str() if not isinstance(value, Enum):
            return value
        case Decimal() | date() | time() | timedelta():
            return value
        case Enum():
            return _plain(value.value)
        case BaseModel():
            return _plain(value.model_dump())
        case Mapping():
            return {str(_plain(key)): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case set() | frozenset():
            return sorted((_plain(item) for item in value), key=repr)
    return str(value)


@cache
def _named(name: str, site: Path | None) -> OutputType:
    if inner := re.fullmatch(r"list\[(.+)\]", name):
        annotation: Any = list[_named(inner[1], site).annotation]  # type: ignore[misc]
    else:
        annotation = _find(name, site)
    return OutputType(name, annotation, TypeAdapter(annotation))


def _find(name: str, site: Path | None) -> object:
    """A type of a skills module, or what a skill returns."""
    if name.startswith("skill:"):
        skill = get_skill(name.removeprefix("skill:"), site)
        return typing.get_type_hints(skill.function, include_extras=True).get("return", object)
    domain, _, attribute = name.partition(".")
    for module in _modules(domain, site):
        target = module
        for part in attribute.split("."):
            target = getattr(target, part, None)
        if isinstance(target, type) or hasattr(target, "__metadata__"):
            return target
    raise PermanentError(
        f"There is no type named {name!r}.",
        remedy=f"Name a class of muster.skills.{domain} or of the site's skills/{domain}.py.",
    )


def _modules(domain: str, site: Path | None) -> list[Any]:
    modules: list[Any] = []
    # A name may come from a plan. As a path it would have any file executed.
    if not domain.isidentifier():
        return modules
    if importlib.util.find_spec(f"muster.skills.{domain}") is not None:
        modules.append(importlib.import_module(f"muster.skills.{domain}"))
    if site is not None and (path := site / f"{domain}.py").is_file():
        modules.append(import_site_module(path))
    return modules


@lru_cache(256)
def _described(text: str) -> OutputType:
    import jsonschema

    schema: dict[str, object] = json.loads(text)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise PermanentError(f"`returns` is not a JSON Schema: {error.message}.") from error
    schema = _inlined(schema, schema, ())
    schema.pop("$defs", None)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())

    def fits(value: object) -> object:
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
        if errors:
            raise ValueError("; ".join(errors[:5]))
        return value

    base: Any = dict[str, Any] if schema.get("type") == "object" else object
    annotation = Annotated[base, AfterValidator(fits), WithJsonSchema(schema)]
    return OutputType(schema, annotation, TypeAdapter(annotation))


def _inlined(node: object, root: Mapping[str, object], within: tuple[str, ...]) -> Any:
    """`node` with each reference replaced by its target, because models are sent one self-contained schema."""
    if isinstance(node, list):
        return [_inlined(item, root, within) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return {key: _inlined(item, root, within) for key, item in node.items() if key != "$defs"}
    if reference in within or not reference.startswith("#/"):
        raise PermanentError(
            f"`returns` refers to {reference!r}.",
            remedy="Use a schema that refers neither to itself nor elsewhere.",
        )
    target: Any = root
    for part in reference[2:].split("/"):
        if not isinstance(target, Mapping) or part not in target:
            raise PermanentError(f"`returns` refers to {reference!r}, which is not in the schema.")
        target = target[part]
    beside = {key: item for key, item in node.items() if key != "$ref"}
    return _inlined({**target, **beside}, root, (*within, reference))


def _hydrated(value: object, schema: object) -> object:
    """Numbers that may have a fraction become `Decimal`; strings with a date format become dates."""
    if not isinstance(schema, Mapping) or not schema:
        return value
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        if (changed := _hydrated(value, choice)) is not value and changed != value:
            return changed
    match value:
        # Before the numbers, because a `bool` is an `int`.
        case bool():
            return value
        case dict():
            properties, other = schema.get("properties", {}), schema.get("additionalProperties")
            return {key: _hydrated(item, properties.get(key, other)) for key, item in value.items()}
        case list():
            first, other = schema.get("prefixItems", ()), schema.get("items")
            return [_hydrated(item, first[at] if at < len(first) else other) for at, item in enumerate(value)]
        # By way of its text: made of the float itself, a decimal would have the float's error.
        case int() | float() if "number" in (schema.get("type") or ()):
            return Decimal(str(value))
        case str():
            return _from_text(value, schema.get("format"))
    return value


def schema_of(value: object) -> dict[str, object] | None:
    """A JSON Schema by which `hydrate` finds the decimals and dates in the JSON-ready form of `value` again.

    None where it holds none. It is as large as a row has columns, however many rows there are. Decimals and texts in
    one column are text in all of it: as a decimal a text would not be what it was.
    """
    return _schema_of([value]) or None


def _schema_of(values: Sequence[object]) -> dict[str, object]:
    """One schema for all values at the same place of different rows; empty if they hold no decimal and no date."""
    forms = _forms(values)
    # In the order in which their texts are told apart; null and numbers are no text.
    formats = [{"format": form} for form in ("decimal", "date", "date-time") if form in forms]
    schema: dict[str, object] = {}
    if formats and "text" not in forms:
        schema |= formats[0] if len(formats) == 1 else {"anyOf": formats}
    if mappings := [value for value in values if isinstance(value, Mapping)]:
        schema |= _of_mappings(mappings)
    if lists := [list(value) for value in values if isinstance(value, _LISTS)]:
        schema |= _of_lists(lists)
    return schema


def _of_mappings(mappings: Sequence[Mapping[Any, object]]) -> dict[str, object]:
    columns: dict[str, list[object]] = {}
    for mapping in mappings:
        for key, item in mapping.items():
            columns.setdefault(str(key), []).append(item)
    if len(columns) > WIDEST:
        every = _schema_of([item for column in columns.values() for item in column])
        return {"additionalProperties": every} if every else {}
    properties = {key: schema for key, column in columns.items() if (schema := _schema_of(column))}
    return {"properties": properties} if properties else {}


def _of_lists(lists: Sequence[list[object]]) -> dict[str, object]:
    items = [item for row in lists for item in row]
    width = max(map(len, lists))
    if len(_forms(items)) < 2 or width > WIDEST:
        every = _schema_of(items)
        return {"items": every} if every else {}
    # Texts and decimals side by side are told apart by their places: they are the columns of a row.
    columns: list[list[object]] = [[] for _ in range(width)]
    for row in lists:
        for column, item in zip(columns, row, strict=False):
            column.append(item)
    places = [_schema_of(column) for column in columns]
    return {"prefixItems": places} if any(places) else {}


def _forms(values: Sequence[object]) -> set[str]:
    """What the texts are that stand for the values in JSON."""
    return {form for kind in set(map(type, values)) if (form := _form(kind)) is not None}


def _form(kind: type) -> str | None:
    if issubclass(kind, (type(None), bool, int, float, Mapping, *_LISTS)):
        return None
    # A moment is a date, too.
    known = ((Decimal, "decimal"), (datetime, "date-time"), (date, "date"))
    return next((form for of, form in known if issubclass(kind, of)), "text")


def _from_text(value: str, form: object) -> object:
    try:
        match form:
            case "date":
                return date.fromisoformat(value)
            case "date-time" | "date-time-local":
                return datetime.fromisoformat(value)
            case "decimal":
                return Decimal(value)
    except (ValueError, ArithmeticError):
        pass
    return value
