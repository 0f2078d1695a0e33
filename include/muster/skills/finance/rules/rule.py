"""What a rule is, and the shapes most rules have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from muster.findings import Finding, Severity
from muster.skills.finance.invoice import Invoice, Term

OURS = "Muster"
"""The source of a rule that is not the standard's."""

Selector = Callable[[Invoice], Iterator[tuple[str, Term]]]
"""Finds the parts of an invoice a rule is about, each with its path; the whole invoice has the path ''."""


@dataclass(frozen=True)
class Breach:
    """One place where a rule is broken."""

    path: str | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    """What the rule's message names in braces."""
    severity: Severity | None = None
    """Overrides the rule's."""


@dataclass(frozen=True)
class Rule:
    """One rule: its official id, a sentence for when it is broken, and the check."""

    id: str
    message: str
    check: Callable[[Invoice], Iterable[Breach]]
    severity: Severity = "error"
    source: str = "EN 16931"

    def findings(self, invoice: Invoice) -> Iterator[Finding]:
        """One finding for each breach."""
        for breach in self.check(invoice):
            severity = breach.severity or self.severity
            message = self.message.format_map(breach.values)
            yield Finding(rule=self.id, message=message, severity=severity, path=breach.path)


def whole(invoice: Invoice) -> Iterator[tuple[str, Term]]:
    """The invoice itself."""
    yield "", invoice


def parts(path: str) -> Selector:
    """A selector of the parts at a dotted path: every item where one is a list, none where one is absent."""
    steps = path.split(".")

    def select(invoice: Invoice) -> Iterator[tuple[str, Term]]:
        below: list[tuple[str, Any]] = [("", invoice)]
        for step in steps:
            below = [child for where, part in below for child in _children(where, part, step)]
        yield from below

    return select


def _children(where: str, part: Any, step: str) -> Iterator[tuple[str, Any]]:
    value, path = getattr(part, step), at(where, step)
    if isinstance(value, list):
        yield from ((f"{path}[{index}]", item) for index, item in enumerate(value))
    elif value is not None:
        yield path, value


def at(where: str, name: str) -> str:
    """The path of the field `name` of the part at `where`."""
    return f"{where}.{name}" if where else name


def required(rule_id: str, select: Selector, *names: str, message: str, severity: Severity = "error") -> Rule:
    """At least one of the fields must be there. The message may name `{path}`."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        for where, part in select(invoice):
            if not any(_present(getattr(part, name)) for name in names):
                yield Breach(at(where, names[0]), {"path": where})

    return Rule(rule_id, message, check, severity)


def _present(value: object) -> bool:
    return value is not None and value != []


def satisfies(
    rule_id: str, select: Selector, name: str, test: Callable[[Any], bool], message: str, severity: Severity = "error"
) -> Rule:
    """The field, where present, must pass the test. The message may name `{value}` and `{path}`."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        for where, part in select(invoice):
            value = getattr(part, name)
            if value is not None and not test(value):
                yield Breach(at(where, name), {"value": value, "path": where})

    return Rule(rule_id, message, check, severity)


def listed(rule_id: str, select: Selector, name: str, codes: frozenset[str], message: str) -> Rule:
    """The field, where present, must be one of the codes. The message may name `{value}`."""
    return satisfies(rule_id, select, name, codes.__contains__, message)
