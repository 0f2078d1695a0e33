"""No secret stands in a file: a definition is stored with its runs for good, shown on pages and exported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from muster.language.explain import Located
from muster.language.expressions import is_expression
from muster.language.problems import Problem
from muster.language.reading import Path
from muster.redaction import looks_secret, may_hold_secrets
from muster.secret_names import named
from muster.secret_shapes import is_given
from muster.secret_words import is_listed, is_secret, name_in

_REMEDY = (
    "Keep it in an Airflow connection, which a skill opens when it needs it, take it out of this file,"
    " and change the secret if a run has been opened with it. If it is none, give it another name."
)


def check_secrets(document: Located) -> Iterator[Problem]:
    """One problem for each secret in a document."""
    # Nearly every file holds no secret. To search its JSON once is much faster than to look at each value.
    if not may_hold_secrets(json.dumps(document.data, ensure_ascii=False, separators=(",", ":"), default=str)):
        return
    for path, message in _secrets_in(document.data, ()):
        # The line itself would carry the secret on: to a screen, a log, a Dag's documentation.
        yield replace(document.problem(message, path, suggestion=_REMEDY), snippet="")


_PROSE = frozenset({"description", "ask", "role", "title", "instructions", "human"})
"""What people or models read: `?token=...` in it is an example, only a real key is refused."""
_STATEMENT = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|CALL)\s", re.IGNORECASE)
"""How a statement of SQL begins."""
_GIVEN_HERE = ("default", "const", "enum", "example", "examples")
"""What a schema holds of the values themselves."""
_FROM_ELSEWHERE = re.compile(
    r"[$<{].*"  # A variable of the shell, a blank to fill in.
    r"|[\w(]*(?:%\(\w+\)s|[:@]\w+)[,;)]*"  # A parameter of a statement.
    r"|(?:~|\.{1,2})?(?:/[\w.-]+){2,}"  # The file that holds it.
    r"|[a-z][a-z0-9_]*_(?:default|conn|connection)",  # The connection that holds it.
    re.DOTALL,
)


def _secrets_in(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        if looks_secret(value, prose=_is_prose(path) or _compares(value)) or _says_secret(value):
            yield path, "what stands here looks like a secret, and would be stored with every run"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            place = (*path, key)
            if is_secret(name := name_in(value, key), inner) and not _is_schema(path):
                yield from _literals(name, inner, place)
                continue
            given = _given(key, inner) if _is_schema(path) else {}
            for word, example in given.items():
                yield from _literals(key, example, (*place, word))
            left = {word: deeper for word, deeper in inner.items() if word not in given} if given else inner
            yield from _secrets_in(left, place)
    elif isinstance(value, list):
        named = dict(enumerate(value)) if is_listed(value) else {}
        for position, inner in enumerate(value):
            name, held = named.get(position, (None, None))
            if position and is_given(option := value[position - 1], inner):
                yield from _literals(option, inner, (*path, position))
            elif name is not None and is_secret(name, held, listed=True):
                yield from _literals(name, held, (*path, position, 1))
            else:
                yield from _secrets_in(inner, (*path, position))


def _compares(text: str) -> bool:
    """True for SQL that compares what has a secret's name with a column, a parameter or a function, not with a text."""
    return bool(_STATEMENT.match(text)) and not any(
        {*text[max(0, span.start - 1) : span.start + 1]} & {"'", '"'} for span in named(text)
    )


def _says_secret(text: str) -> bool:
    """True for a sentence that says a password or a key itself, `Sign in with password: Sommer2024!xyz`.

    Only what stands right behind the name is judged: `redact` hides more, such as `Password: see 1Password`, because
    what it wrongly lets through is stored, while a person can mend nothing in a sentence that is wrongly refused.
    """
    for span in named(text):
        before = _URL_QUERY.sub("", text[: span.start].rstrip("\"' \t*`"))
        word = (text[span.start : span.end].split() or [""])[0]
        if _FROM_ELSEWHERE.fullmatch(word):
            continue
        if before.endswith((":", "=")) and _CHOSEN.fullmatch(word) and not _PRODUCT.fullmatch(word):
            return True
    return False


_URL_QUERY = re.compile(r"[?&][\w.-]{1,60}=\Z")
"""What comes before an example in the address of a page: `?token=abc123`."""
_PRODUCT = re.compile(r"[A-Za-z]+\d{1,3}[.,;:!?]*")
"""What is as likely the name of a system: `OAuth2`, `Office365`."""
_CHOSEN = re.compile(
    r"(?=.*\d)(?=.*[!#$%&*+=?@^~]).{6,}"  # Digits and signs: `Winter2023!`.
    r"|(?=.*[a-z])(?=.*[A-Z])(?:[A-Za-z]+\d+){2,}[A-Za-z]*",  # Letters among digits: `k7Qx9fZZ12ab`.
    re.DOTALL,
)
"""What people write only as a password or a key. Either half alone may as well be a name: `§12-Regelung`, `#vault`."""


def _given(name: object, schema: object) -> Mapping[str, object]:
    """What the schema of a value whose name is secret already says of it."""
    if not isinstance(schema, Mapping):
        return {}
    return {word: schema[word] for word in _GIVEN_HERE if word in schema and is_secret(name, schema[word])}


def _is_prose(path: Path) -> bool:
    return path[-1:] != () and path[-1] in _PROSE and not {"with", "settings"} & set(path)


def _is_schema(path: Path) -> bool:
    """True where a key is the name of a value that is given later."""
    return path[:1] == ("inputs",) or "returns" in path


def _literals(name: str, value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """What stands under a secret's name in clear; an expression says where it comes from."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _literals(name, inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _literals(name, inner, (*path, position))
    elif isinstance(value, str) and (is_expression(value) or _FROM_ELSEWHERE.fullmatch(value)):
        yield from _secrets_in(value, path)
    elif is_secret(name, value):
        yield path, f"`{name}` is a secret by its name, and what stands here would be stored with every run"
