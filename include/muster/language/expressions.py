"""The expression language: what a text refers to, and what it evaluates to.

A text that is one expression and nothing else keeps the value's type; an expression inside a longer text
becomes text. See `docs/language.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import InvalidOperation
from functools import lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.environment import Template, TemplateExpression
from jinja2.exceptions import TemplateError

from muster.language import foreign
from muster.language.answers import NeitherTrueNorFalse
from muster.language.expression_errors import ExpressionError, error_of
from muster.language.filters import FILTERS, MAX_TEXT, as_text
from muster.language.paths import asked, path_of
from muster.language.problems import did_you_mean
from muster.language.references import References
from muster.language.sandbox import Mark, Sandbox, as_seen, loop_budget, marking, plain
from muster.language.truths import guarded, is_named_by_data

VARIABLES = ("inputs", "steps", "settings", "run", "item", "index", "output")
"""What an expression can begin with."""

MAX_LENGTH = 50_000
"""Longest text that may hold expressions."""

MAX_DEPTH = 60
"""Deepest nesting of an expression."""

_sandbox = Sandbox()

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Name, nodes.Const,
    nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Getattr,
    nodes.Getitem, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr,
    nodes.Keyword, nodes.Call,
)  # fmt: skip


class ExpressionSyntaxError(ValueError):
    """A text is not an expression of the language; `line` counts from 0 within the text, `unknown` is a path of names
    that begins with no variable there is.
    """

    def __init__(
        self, message: str, line: int = 0, suggestion: str | None = None, unknown: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.unknown = unknown
        self.message = message
        self.line = line
        self.suggestion = suggestion


_NONE = References()
_PARENTS = ("steps", "inputs", "settings", "run")


def is_expression(text: str) -> bool:
    """True when the text holds an expression."""
    return "{{" in text or "{%" in text or "{#" in text


def references(value: object) -> References:
    """What a value refers to, its texts looked through at any depth.

    Raises:
        ExpressionSyntaxError: a text is not an expression of the language.
    """
    if type(value) is str:
        return parse(value)
    found = [parse(text) for text in _expressions_in(value)]
    if len(found) < 2:
        return found[0]._replace(path=None) if found else _NONE
    named = zip(*((*each[:5],) for each in found), strict=True)
    inside = frozenset[tuple[str, ...]]().union(*(each.inside for each in found))
    optional = frozenset[tuple[str, ...]]().union(*(each.asked for each in found))
    below = frozenset[tuple[str, ...]]().union(*(each.below for each in found))
    variables, steps, inputs, settings, run = (frozenset[str]().union(*names) for names in named)
    return References(variables, steps, inputs, settings, run, inside, optional, below)


def _expressions_in(value: Any) -> list[str]:
    """Every text in a value that holds an expression, in no order."""
    expressions, pending = [], [value]
    while pending:
        inner = pending.pop()
        kind = type(inner)
        if kind is str:
            if "{" in inner and is_expression(inner):
                expressions.append(inner)
        elif kind is dict:
            pending.extend(inner.values())
        elif kind is list:
            pending.extend(inner)
    return expressions


def texts(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text in a value that holds an expression, with the path to it."""
    if isinstance(value, str):
        if is_expression(value):
            yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from texts(inner, (*path, position))


@lru_cache(maxsize=8192)
def parse(text: str) -> References:
    """What a text refers to. Raises ExpressionSyntaxError."""
    if not is_expression(text):
        return _NONE
    if (simple := _only_paths(text)) is not None:
        return simple
    if len(text) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"a text with expressions is longer than {MAX_LENGTH:,} characters")
    try:
        tree = _sandbox.parse(text)
    except TemplateSyntaxError as error:
        raise ExpressionSyntaxError(*_syntax(error)) from None
    except RecursionError:
        raise ExpressionSyntaxError("the expression is nested too deeply") from None
    return _Reader().read(tree)


# Most expressions are paths: reading those without Jinja's parser halves the time to load a folder.
_PATH = re.compile(r"\{\{ *([a-z]+(?:\.[A-Za-z_][A-Za-z0-9_]*)*) *\}\}")


def _only_paths(text: str) -> References | None:
    """What a text refers to whose expressions are all paths; None when they are more, or wrong."""
    paths = [tuple(path.split(".")) for path in _PATH.findall(text)]
    # Any further brace belongs to a filter, a tag or a mistake, which only the parser can tell.
    if text.count("{") != 2 * len(paths) or text.count("}") != 2 * len(paths):
        return None
    reader = _Reader()
    try:
        for path in paths:
            reader.refer(path, 1)
    except ExpressionSyntaxError:
        return None
    whole = paths[0] if len(paths) == 1 and _PATH.fullmatch(text.strip()) else None
    return reader.references(whole)


def known_variables() -> str:
    """What is said where nothing else is known of a name."""
    return f"There are {', '.join(VARIABLES)}."


def _syntax(error: TemplateSyntaxError) -> tuple[str, int, str | None]:
    message, suggestion = foreign.syntax_meant((error.message or "it cannot be read").rstrip("."))
    return f"not an expression: {message}", max(0, error.lineno - 1), suggestion


class _Reader:
    """Walks a parsed text: refuses what the language does not have, collects what is referred to."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {name: set() for name in _PARENTS}
        self.variables: set[str] = set()
        self.inside: set[tuple[str, ...]] = set()
        self.asked: set[tuple[str, ...]] = set()
        self.below: set[tuple[str, ...]] = set()

    def read(self, tree: nodes.Template) -> References:
        try:
            self._visit(tree, frozenset())
        except RecursionError:
            raise ExpressionSyntaxError("the expression is nested too deeply") from None
        optional = [path for path in asked(tree) if len(path) > 2]
        self.asked = {path[1:] for path in optional if path[0] == "inputs"}
        self.below = {
            path for path in self.below if not any(("steps", *path)[: len(each)] == each for each in optional)
        }
        only = _only_expression(tree)
        return self.references(None if only is None else path_of(only))

    def references(self, path: tuple[str, ...] | None) -> References:
        """What was found so far; `path` when it was nothing else."""
        steps, inputs, settings, run = (frozenset(self.names[name]) for name in _PARENTS)
        more = frozenset(self.inside), frozenset(self.asked), frozenset(self.below)
        return References(frozenset(self.variables), steps, inputs, settings, run, *more, path)

    def _visit(self, node: nodes.Node, local: frozenset[str], depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise ExpressionSyntaxError("the expression is nested too deeply")
        self._check(node)
        if isinstance(node, nodes.For):
            self._visit(node.iter, local, depth + 1)
            # Names that the loop binds are no variables of the run. Its list is outside of them.
            inner = local | {name.name for name in node.target.find_all(nodes.Name)} | {"loop"}
            if isinstance(node.target, nodes.Name):
                inner |= {node.target.name}
            for child in [*node.body, *node.else_, *([node.test] if node.test else [])]:
                self._visit(child, inner, depth + 1)
            return
        if isinstance(node, nodes.Call):
            children: Iterator[nodes.Node] = iter(node.args)
        elif (path := path_of(node)) and path[0] not in local:
            self.refer(path, node.lineno or 1)
            return
        else:
            children = node.iter_child_nodes()
        for child in children:
            self._visit(child, local, depth + 1)

    def _check(self, node: nodes.Node) -> None:
        line = (node.lineno or 1) - 1
        if isinstance(node, nodes.Call | nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
            # How many there are is known only once it runs: nobody could say before whether `select` is given a test.
            raise ExpressionSyntaxError(
                "`*` and `**` give no arguments here", line, 'Write each of them, for example `select("eq", "yes")`.'
            )
        if isinstance(node, nodes.Call):
            if not isinstance(node.node, nodes.Name) or node.node.name != "range":
                raise _no_call(node, line)
        elif isinstance(node, nodes.Filter):
            if node.name not in FILTERS and " " not in node.name:
                known = f"Filters: {', '.join(sorted(FILTERS))}."
                raise ExpressionSyntaxError(
                    f"there is no filter `{node.name}`",
                    line,
                    foreign.filter_meant(node.name) or did_you_mean(node.name, FILTERS) or known,
                )
            if is_named_by_data(node):
                message = "`map` needs the name of its filter as text"
                raise ExpressionSyntaxError(message, line, 'Write it in quotes, for example `map("lower")`.')
        elif isinstance(node, nodes.Test):
            if node.name not in _sandbox.tests:
                raise ExpressionSyntaxError(
                    f"there is no test `{node.name}`", line, did_you_mean(node.name, _sandbox.tests)
                )
        elif not isinstance(node, _ALLOWED):
            word = type(node).__name__.lower().replace("assign", "set")
            raise ExpressionSyntaxError(f"`{word}` is not part of expressions", line, "There are `if` and `for`.")

    def refer(self, path: tuple[str, ...], line: int) -> None:
        """Note a path, or refuse it."""
        name = path[0]
        if name not in VARIABLES:
            meant = foreign.variable_meant(name) or did_you_mean(name, VARIABLES) or known_variables()
            raise ExpressionSyntaxError(f"there is no variable `{name}`", line - 1, meant, path)
        self.variables.add(name)
        if name in self.names:
            if len(path) > 1:
                self.names[name].add(path[1])
                if len(path) > 2 and name in ("inputs", "steps"):
                    (self.inside if name == "inputs" else self.below).add(path[1:])
            elif name == "steps":
                raise ExpressionSyntaxError("`steps` must be followed by a step's id", line - 1, "Write `steps.<id>`.")


def _no_call(node: nodes.Call, line: int) -> ExpressionSyntaxError:
    called = node.node
    name = called.attr if isinstance(called, nodes.Getattr) else getattr(called, "name", "this")
    suggestion = (
        foreign.CALLS.get(name) or foreign.filter_meant(name) or "Use a filter; there are no methods and functions."
    )
    return ExpressionSyntaxError(f"`{name}(…)` cannot be called", line, suggestion)


def tree_of(text: str) -> nodes.Template:
    """A text with expressions as Jinja reads it. Raises ExpressionSyntaxError."""
    parse(text)
    return _sandbox.parse(text.strip())


def only_expression(text: str) -> nodes.Expr | None:
    """The expression that a text is, when it is one and nothing else. Raises ExpressionSyntaxError."""
    return _only_expression(tree_of(text))


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    if len(tree.body) == 1 and isinstance(output := tree.body[0], nodes.Output) and len(output.nodes) == 1:
        return None if isinstance(only := output.nodes[0], nodes.TemplateData) else only
    return None


@lru_cache(maxsize=4096)
def _compile(text: str, truth: bool) -> Template | TemplateExpression:
    """The compiled text: an expression when it is nothing else, a template when text is around it."""
    whole = only_expression(text)
    if whole is None:
        return _sandbox.from_string(text)
    # Jinja's templates give text. Assigned to a name that is read afterwards, the value keeps its type.
    body = [nodes.Assign(nodes.Name("result", "store"), guarded(whole) if truth else whole, lineno=1)]
    template = _sandbox.from_string(nodes.Template(body, lineno=1))
    return TemplateExpression(template, undefined_to_none=False)


def evaluate_marked(text: str, variables: Mapping[str, object], mark: Mark, *, where: str | None = None) -> str:
    """The text, with `mark` around every text that an expression puts into it.

    So a reader can tell what the author wrote from what came out of data. A text that is one
    expression and nothing else has no author's words around it and stays as it is.

    Raises:
        ExpressionError: an expression fails on this data.
    """
    token = marking.set(mark)
    try:
        value = evaluate(text, variables, where=where)
    finally:
        marking.reset(token)
    return value if isinstance(value, str) else str(as_text(value))


def evaluate(value: object, variables: Mapping[str, object], *, where: str | None = None) -> Any:
    """The value with every expression in it evaluated; lists and mappings are walked through.

    Args:
        value: Plain data as an automation holds it.
        variables: Plain data by name; see `VARIABLES`.
        where: Said in errors: the step and the field.

    Raises:
        ExpressionError: an expression fails on this data.
    """
    if isinstance(value, str):
        return _evaluate_text(value, variables, where, plain) if is_expression(value) else value
    if isinstance(value, Mapping):
        return {key: evaluate(inner, variables, where=where) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [evaluate(inner, variables, where=where) for inner in value]
    return value


def evaluate_seen(value: object, variables: Mapping[str, object], *, where: str | None, truth: bool = False) -> object:
    """`evaluate` for a condition, or for what other expressions name: `Answers` stay `Answers`, which are never true.

    Raises:
        ExpressionError: an expression fails on this data, or text is an operand of a condition (`truth`).
    """
    if not isinstance(value, str) or not is_expression(value):
        return evaluate(value, variables, where=where)
    return _evaluate_text(value, variables, where, as_seen, truth)


def _evaluate_text(
    text: str, variables: Mapping[str, object], where: str | None, settled: Callable[..., object], truth: bool = False
) -> object:
    try:
        compiled = _compile(text, truth)
        if isinstance(compiled, TemplateExpression):
            return settled(compiled(variables, **loop_budget()))
        return _render(compiled, variables)
    except ExpressionSyntaxError as error:
        raise ExpressionError(error.message, text, where, remedy=error.suggestion) from None
    except NeitherTrueNorFalse as error:
        raise error_of(error, text, where) from None
    except TemplateError as error:
        raise ExpressionError((error.message or str(error)).rstrip("."), text, where) from None
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(_reason(error), text, where) from error


def _render(template: Template, variables: Mapping[str, object]) -> str:
    parts, size = list[str](), 0
    # Part by part: `render` would build a text of any size before its length could be checked.
    for part in template.generate(variables, **loop_budget()):
        size += len(part)
        if size > MAX_TEXT:
            raise ValueError(f"the text is longer than {MAX_TEXT:,} characters")
        parts.append(part)
    return "".join(parts)


def _reason(error: Exception) -> str:
    if isinstance(error, ZeroDivisionError):
        return "it divides by zero"
    if isinstance(error, InvalidOperation):
        return "one of its numbers cannot be reckoned with: it is none (`NaN`), or has too many digits"
    text = str(error) or type(error).__name__
    return text[0].lower() + text[1:].rstrip(".")
