"""XML from strangers: parsed without document types, entities or network, and read value by value."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TypeVar
from xml.parsers import expat

from lxml import etree

from muster.errors import SetAside
from muster.findings import Finding
from muster.skills.finance.invoice import Identifier
from muster.skills.finance.reading.source import refusal

T = TypeVar("T")

MAX_DEPTH = 100
"""Deepest nesting that is read; a plain invoice needs ten."""

_DECIMAL = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})")
_PLACEHOLDERS = frozenset({"na", "n/a", "none", "-", ".", "dummy", "dummywert"})
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(Z|[+-]\d\d:\d\d)?")


def parse(data: bytes) -> etree._Element:
    """The root element of a document.

    Raises:
        SetAside: the document is malformed, nests too deeply, or has a document type declaration: no
            invoice needs one, and it is where entity bombs and external entities are declared.
    """
    _refuse_document_type(data)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        rule = "MU-XML-TOO-DEEP" if "depth" in str(error).lower() else "MU-XML-MALFORMED"
        raise refusal(rule, f"The XML cannot be read: {error}.") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise _document_type_refusal()
    if root.xpath(f"boolean(//*[count(ancestor::*) >= {MAX_DEPTH}])"):
        raise refusal("MU-XML-TOO-DEEP", f"The XML nests deeper than {MAX_DEPTH} elements.")
    return root


class _PrologEndError(Exception):
    pass


def _refuse_document_type(data: bytes) -> None:
    # By expat, before libxml2 sees the document: expat stops at the first character of a declaration, before any entity
    # in it is defined.
    def refuse(*_: object) -> None:
        raise _document_type_refusal()

    def stop(*_: object) -> None:
        raise _PrologEndError

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = stop
    try:
        parser.Parse(data, True)
    except _PrologEndError:
        return
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise refusal("MU-XML-MALFORMED", f"The XML cannot be read: {error}.") from None


def _document_type_refusal() -> SetAside:
    return refusal("MU-XML-DOCTYPE", "The XML declares a document type, which an invoice never needs.")


def account(value: str | None) -> str | None:
    """An account number as machines write it: without the spaces people put in, an IBAN in capitals."""
    if value is None:
        return None
    plain = re.sub(r"\s+", "", value)
    return plain.upper() if re.match(r"[A-Za-z]{2}\d{2}", plain) else plain


def without_placeholder(value: str | None) -> str | None:
    """None for what is written where a syntax demands a reference and there is none, such as `NA`."""
    return None if value is not None and value.lower() in _PLACEHOLDERS else value


class Node:
    """An element with typed access to what is below it; unreadable values are collected, not raised."""

    __slots__ = ("element", "namespaces", "problems")

    def __init__(self, element: etree._Element, namespaces: dict[str, str], problems: list[Finding]) -> None:
        self.element = element
        self.namespaces = namespaces
        self.problems = problems

    def part(self, path: str) -> Node | None:
        """The first element at `path`."""
        below = self.element.find(path, self.namespaces)
        return None if below is None else Node(below, self.namespaces, self.problems)

    def first(self, path: str, text: str) -> str | None:
        """The first text at `text` below any element at `path`."""
        return next((value for part in self.parts(path) if (value := part.text(text))), None)

    def parts(self, path: str) -> list[Node]:
        """Every element at `path`."""
        return [Node(below, self.namespaces, self.problems) for below in self.element.iterfind(path, self.namespaces)]

    def has(self, path: str) -> bool:
        """True when there is an element at `path`."""
        return self.element.find(path, self.namespaces) is not None

    def text(self, path: str = ".") -> str | None:
        """The text at `path`, stripped; None when there is none."""
        element = self.element.find(path, self.namespaces) if path != "." else self.element
        if element is None:
            return None
        return (element.text or "").strip() or None

    def attribute(self, path: str, name: str) -> str | None:
        """The attribute `name` of the element at `path`, stripped; None when there is none."""
        element = self.element.find(path, self.namespaces) if path != "." else self.element
        return None if element is None else (element.get(name) or "").strip() or None

    def decimal(self, path: str = ".") -> Decimal | None:
        """The xs:decimal at `path`."""
        text = self.text(path)
        if text is None:
            return None
        if _DECIMAL.fullmatch(text):
            return Decimal(text)
        self._problem("MU-VALUE-NUMBER", f"{text!r} is not a number.", path)
        return None

    def day(self, path: str = ".") -> date | None:
        """The date at `path`, written as 2026-11-21 or 20261121; a zone is left out, as the standard does."""
        text = self.text(path)
        if text is None:
            return None
        if match := _DATE.fullmatch(text):
            try:
                return date(int(match[1]), int(match[2]), int(match[3]))
            except ValueError:
                pass
        self._problem("MU-VALUE-DATE", f"{text!r} is not a date.", path)
        return None

    def identifier(self, path: str = ".") -> Identifier | None:
        """The identifier at `path` with its scheme."""
        value = self.text(path)
        if value is None:
            return None
        scheme = self.attribute(path, "schemeID") or self.attribute(path, "listID")
        version = self.attribute(path, "schemeVersionID") or self.attribute(path, "listVersionID")
        return Identifier(value=value, scheme=scheme, scheme_version=version)

    def build(self, path: str, make: Callable[[Node], T]) -> T | None:
        """What `make` makes of the first element at `path`; None when there is none."""
        part = self.part(path)
        return None if part is None else make(part)

    def identifiers(self, path: str) -> list[Identifier]:
        """Every identifier at `path` that is not empty."""
        read = (part.identifier() for part in self.parts(path))
        return [identifier for identifier in read if identifier is not None]

    def _problem(self, rule: str, message: str, path: str) -> None:
        element = self.element.find(path, self.namespaces) if path != "." else self.element
        assert element is not None
        where = element.getroottree().getpath(element)
        self.problems.append(Finding(rule=rule, message=f"{etree.QName(element).localname}: {message}", path=where))
