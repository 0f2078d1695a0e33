"""The sandbox that expressions are evaluated in: plain data, listed filters, bounded work.

Jinja's sandbox keeps an expression from Python's internals. This one also keeps it from objects (only the
keys of mappings and the positions of lists are seen), from calls (only `range`), and from using
unbounded time or memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from decimal import Decimal
from typing import Any, cast

from jinja2 import StrictUndefined, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment

from muster.language import filters
from muster.language.answers import Answers, Decision
from muster.language.decimals import ExactComparisons, comparing, exact, is_in
from muster.language.forgotten import Forgotten, deciding, forgotten_in, refuse
from muster.language.problems import did_you_mean, kind_of
from muster.language.truths import ASKED, ask, not_text

MAX_ITERATIONS = 100_000
"""Most rounds of all `for` loops of one text."""
MAX_RANGE = 10_000
"""Longest `range`."""
MAX_REPEAT = 10_000
"""Longest text made with `*`."""
MAX_BITS = 4_096
"""Largest whole number, in bits."""

_LOOP_KEYS = frozenset({"index", "index0", "first", "last", "length", "revindex", "revindex0"})
_PRESENCE = frozenset({"defined", "undefined", "none"})
"""Tests for a value. What was forgotten may be asked: it was never null."""
_TESTS = frozenset(
    {"string", "number", "integer", "float", "boolean", "true", "false"}
    | {"mapping", "sequence", "iterable", "even", "odd", "lower", "upper"}
)
_COMPARING_TESTS = frozenset(
    {"eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">="}
    | {"divisibleby", "in"}
)


Mark = Callable[[str], str]

marking: ContextVar[Mark | None] = ContextVar("muster_marking", default=None)
"""What is done to every text that an expression puts into a longer one; nothing when None."""


def _written(value: object) -> object:
    """How an expression's value is written inside a longer text, marked where that is asked for."""
    text = filters.as_text(value)
    mark = marking.get()
    return mark(text) if mark is not None and isinstance(text, str) and text.strip() else text


def _joined(parts: tuple[object, ...]) -> object:
    """What `~` gives: a text, or, with what was forgotten among the parts, that."""
    # Joined into a text, what was forgotten could be compared, and the comparison would give an answer.
    lost = forgotten_in(parts)
    return str_join(parts) if lost is None else lost


class Missing(StrictUndefined):
    """A value that is not there; using it in any way but `is defined` and `default` is an error."""

    __slots__ = ()


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment all expressions share."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    code_generator_class = ExactComparisons
    exact = staticmethod(exact)
    is_in = staticmethod(is_in)
    joined = staticmethod(_joined)

    def __init__(self) -> None:
        super().__init__(undefined=Missing, optimized=False, autoescape=False, finalize=_written, cache_size=0)
        self.filters = dict(filters.FILTERS)
        self.filters[_BOUNDED] = _bounded
        self.filters[ASKED] = not_text
        self.tests = {
            **{name: self.tests[name] for name in _PRESENCE},
            **{name: deciding(self.tests[name]) for name in _TESTS},
            **{name: deciding(comparing(self.tests[name])) for name in _COMPARING_TESTS},
            ASKED: ask,
        }
        self.globals = {"range": _range}

    def getattr(self, obj: object, attribute: str) -> object:
        """The key `attribute` of a mapping, whatever its name; objects have no attributes here."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: object, argument: object) -> object:
        """The value under a key, or at a position of a list or text."""
        # What was forgotten is refused as a key too: a key that is not there would give a default.
        refuse(obj, *((argument.start, argument.stop) if isinstance(argument, slice) else (argument,)))
        try:
            if isinstance(obj, Mapping):
                return obj[argument]
            if isinstance(obj, list | tuple | str) and isinstance(argument, int | slice):
                return obj[argument]
            if isinstance(obj, LoopContext) and argument in _LOOP_KEYS:
                return getattr(obj, argument)
        except (LookupError, TypeError):
            pass
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        return Missing(_what_is_missing(obj, argument), obj, str(argument))

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """A calculation, exact where one side is a decimal; refused where its result would be out of all proportion."""
        if {type(left), type(right)} == {float, Decimal}:
            left, right = exact(left), exact(right)
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            _check_power(left, right)
        elif operator == "%" and isinstance(left, str | bytes):
            raise SecurityError("`%` does not format text here; join texts with `~`")
        return super().call_binop(context, operator, left, right)

    def is_safe_callable(self, obj: object) -> bool:
        """Nothing is called but `range`."""
        return obj is _range

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        # Every loop takes its rounds from one budget, so nested loops cannot multiply past the bound.
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _BOUNDED, [], [], None, None, lineno=loop.lineno)
        return tree


# A name no one can write, so that the filter cannot be shadowed or left out.
_BOUNDED = "bounded loop"


@pass_context
def _bounded(context: Context, items: Any) -> Iterator[object]:
    refuse(items)
    counter = cast("list[int]", context.parent.get("loop budget", [MAX_ITERATIONS]))
    for item in items:
        counter[0] -= 1
        if counter[0] < 0:
            raise SecurityError(f"the loops run more than {MAX_ITERATIONS:,} rounds")
        yield item


def loop_budget() -> dict[str, object]:
    """The variable that counts the rounds of one evaluation."""
    return {"loop budget": [MAX_ITERATIONS]}


def plain(value: object) -> object:
    """What an expression gives, as plain data. Raises UndefinedError for what is not there."""
    return _settled(value, seen=False)


def as_seen(value: object) -> object:
    """`plain`, but `Answers` stay `Answers` and `Forgotten` stays `Forgotten`."""
    return _settled(value, seen=True)


def _settled(value: object, *, seen: bool) -> object:
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    if isinstance(value, list | tuple):
        entries = [_settled(inner, seen=seen) for inner in value]
        return Answers(entries, value.name) if seen and type(value) is Answers else entries
    if isinstance(value, Mapping) and not isinstance(value, (Decision, Forgotten) if seen else Decision):
        return {key: _settled(inner, seen=seen) for key, inner in value.items()}
    return value


def _range(*arguments: int) -> list[int]:
    numbers = range(*arguments)
    # len() of a huge range overflows; the distance between its ends does not.
    if abs(numbers.stop - numbers.start) // abs(numbers.step) > MAX_RANGE:
        raise SecurityError(f"`range` gives more than {MAX_RANGE:,} numbers")
    return list(numbers)


def _check_product(left: object, right: Any) -> None:
    if isinstance(left, str) or isinstance(right, str):
        text, times = (left, right) if isinstance(left, str) else (right, left)
        if isinstance(times, int) and len(text) * times > MAX_REPEAT:
            raise SecurityError(f"`*` makes a text longer than {MAX_REPEAT:,} characters")
    elif isinstance(left, list | tuple) or isinstance(right, list | tuple):
        raise SecurityError("a list cannot be multiplied")
    elif isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS:
        raise SecurityError("the number is too large")


def _check_power(left: object, right: object) -> None:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
        raise SecurityError("the number is too large")


def _what_is_missing(obj: object, key: object) -> str:
    if obj is None:
        return f"it is null, which has no `{key}` (a step that was skipped gives null)"
    if isinstance(obj, Mapping):
        names = [name for name in obj if isinstance(name, str)]
        hint = did_you_mean(key, names) or (
            f"It has {', '.join(f'`{n}`' for n in names[:12])}." if names else "It is empty."
        )
        return f"there is no `{key}` in it. {hint}"
    if isinstance(obj, list | tuple) and isinstance(key, int):
        return f"the list has {len(obj)} entries, so none at position {key}"
    return f"{kind_of(obj)} has no `{key}`; expressions see keys, never methods or attributes"
