"""Where a text stops being YAML: the place that a person has to mend, and what to write there."""

from __future__ import annotations

import re

import yaml

from muster.language.reading import Mistake, Place

_KEY = re.compile(r"\s*(?:- +)*[^\s:#'\"]+:(?= )")
"""What a line of `key: value` begins with."""
_IN_QUOTES = re.compile(r"""(?:[:,\[{-]|^)\s*("(?:\\.|[^"\\])*"|'(?:''|[^'])*')""", re.MULTILINE)
_BREAKS = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
"""Only YAML's line breaks: a form feed inside a text does not begin a line."""
FAR = 100
"""How many lines before a mistake are searched for the quote that leads to it."""
_NO_ESCAPE = re.compile(r"escape character|hexdecimal|hexadecimal|escape code")
_BRACE = re.compile(r"\{\{\s*|\s*\}\}")
_ONE_EXPRESSION = re.compile(r"\{\{(?:(?!\}\}).)*\}\}")
_BRACES = re.compile(r"\{\{.*?(?:\}\}|$)")


_MARKS = ("@", "*", "%", "`", "&")
"""Signs that mean something to YAML at the beginning of a text."""
_NO_TEXT = re.compile("cannot start any token|an alias|an anchor")
_COMMENT = re.compile(r"[:,\[{-]\s+(#[^\s,}\]]*)")
_NEXT_KEY = re.compile(r"\s*[a-z_]+:\s")
_CLOSED_BY = {"{": "}", "[": "]"}
_UNEVEN = re.compile("expected '-' indicator|did not find expected key|expected <block end>")
_GLUED = re.compile(r"(\s*(?:- +)*([a-z_]+):)([^\s:/#]\S*)$")
"""A line of `key:value`, which YAML takes for one text."""


def syntax_mistake(text: str, error: yaml.MarkedYAMLError) -> Mistake:
    """What is wrong where the parser gave up."""
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line, mark.column, 1) if mark else Place(0, 0, 1)
    line = line_of(text, place.line)
    if line[place.column : place.column + 1] == "\t":
        return Mistake("a tab is used for indentation", place, "Indent with spaces.")
    if _NO_ESCAPE.search(str(error.problem)) and (column := line.rfind("\\", 0, place.column + 1)) >= 0:
        escape = line[column : column + 2]
        remedy = f"Write `\\{escape}`, or put the text in single quotes."
        return Mistake(f"YAML knows no `{escape}` in double quotes", Place(place.line, column, len(escape)), remedy)
    begins = error.context_mark
    problem = str(error.problem)
    if "expected node content" in problem and (comment := _comment_before(text, place)) is not None:
        return comment
    if "expected ',' or" in problem and begins is not None:
        if _NEXT_KEY.match(line, place.column) and line[: place.column].strip():
            return Mistake("a comma is missing before this key", place, "Write `, ` between the two.")
        opened = line_of(text, begins.line)[begins.column : begins.column + 1]
        if begins.line != place.line and opened in _CLOSED_BY:
            closing = f"Close it with `{_CLOSED_BY[opened]}`."
            return Mistake(f"this `{opened}` is not closed", Place(begins.line, begins.column, 1), closing)
    if "could not find expected ':'" in problem and begins is not None:
        return _no_colon(text, begins.line)
    if _UNEVEN.search(problem) and not line[: place.column].strip():
        message = "this line is not indented as any that it could belong to"
        return Mistake(message, place, "Give it as many spaces as the lines beside it have.")
    if begins is not None and "quoted scalar" in str(error.context):
        return _unclosed(Place(begins.line, begins.column, 1), None)
    if (quoted := _ends_at(text, place)) is not None and not _NEXT_KEY.match(line, place.column):
        return _too_early(line_of(text, quoted.line), quoted, place)
    if _NO_TEXT.search(f"{error.context} {problem}"):
        # The parser names the place where the alias stops being one; the alias begins before that.
        column = begins.column if begins is not None and begins.line == place.line else place.column
        for at in (place.column, column):
            if (sign := line[at : at + 1]) in _MARKS:
                return _marked(line, Place(place.line, at, 1), sign)
    if (braces := bare_expression(line, place.column)) is not None:
        return _in_quotes(Place(place.line, *braces), line)
    said = ": ".join(str(part) for part in (error.context, error.problem) if part)
    if error.problem == "mapping values are not allowed in this context":
        key = _KEY.match(line)
        for number in (place.line, place.line - 1):
            if (glued := _GLUED.match(line_of(text, max(0, number)))) is not None:
                where = Place(max(0, number), glued.end(1), 1)
                return Mistake("a space is missing behind the `:`", where, f"Write `{glued[2]}: {glued[3]}`.")
        if key is None or key.end() > place.column:
            above = "Indent it as the lines beside it, or leave the line above without a value."
            return Mistake("this line is indented as if it belonged to the value above it", place, above)
        value = line[key.end() :].strip()
        return Mistake(
            "a `: ` stands inside a text without quotes",
            place,
            f"Put quotes around the text: `{key[0].strip()} {_quoted(value)}`.",
        )
    return Mistake(said, place)


def _marked(line: str, place: Place, mark: str) -> Mistake:
    key = _KEY.match(line)
    rest = line[place.column :].partition(" #")[0].rstrip()
    whole = key is not None and not line[key.end() : place.column].strip()
    value = rest if whole else re.split(r"[,\]}]", rest)[0].strip()
    message = f"a text that begins with `{mark}` needs quotes"
    return Mistake(message, Place(place.line, place.column, len(value)), f"Write {_quoted(value)}.")


def _comment_before(text: str, place: Place) -> Mistake | None:
    """The value in brackets that begins with `#`: all behind it is a comment, so nothing is closed."""
    for number in range(place.line, max(-1, place.line - FAR), -1):
        if (match := _COMMENT.search(line_of(text, number))) is not None:
            message = "what begins with `#` is a comment, to the end of the line"
            return Mistake(message, Place(number, match.start(1), len(match[1])), f"Write {_quoted(match[1])}.")
    return None


def _no_colon(text: str, number: int) -> Mistake:
    """A line that should be `key: value`: it lacks its colon, or belongs to a text above it."""
    line = line_of(text, number)
    said = line.strip()
    place = Place(number, len(line) - len(line.lstrip()), len(said))
    word, _, value = said.partition(" ")
    if value and re.fullmatch("[a-z_]+", word):
        return Mistake("this line has no `: ` behind its key", place, f"Write `{word}: {value}`.")
    remedy = "Where it belongs to the text above, begin that with `|` and indent this line below its key."
    return Mistake("this line is no `key: value`", place, remedy)


def expression_for_key(text: str, mistake: Mistake) -> Mistake:
    """The mistake, unless braces without quotes were taken for mappings: then that one."""
    line, column = line_of(text, mistake.place.line), mistake.place.column
    braces = bare_expression(line, column) if line[max(0, column - 1) : column + 1] == "{{" else None
    return mistake if braces is None else _in_quotes(Place(mistake.place.line, *braces), line)


def bare_expression(line: str, before: int) -> tuple[int, int] | None:
    """Column and width of an expression that begins a value without quotes, at or before a column."""
    for match in _BRACES.finditer(line):
        if match.start() <= before and line[: match.start()].rstrip()[-1:] in ("", ":", ",", "[", "{", "-"):
            return match.start(), match.end() - match.start()
    return None


def line_of(text: str, number: int) -> str:
    """The line of that number, which counts from 0."""
    lines = _BREAKS.split(text)
    return lines[number] if number < len(lines) else ""


def _in_quotes(place: Place, line: str) -> Mistake:
    shown = line[place.column : place.column + place.width]
    key, value = _KEY.match(line), line[place.column :].partition(" #")[0].rstrip()
    if key is not None and not line[key.end() : place.column].strip() and _is_whole(value):
        shown = value
        if key[0].split()[-1] == "when:" and not _ONE_EXPRESSION.fullmatch(value):
            # In quotes it would be text; what is compared belongs into the braces.
            shown = f"{{{{ {_BRACE.sub('', value).strip()} }}}}"
    return Mistake("an expression must stand in quotes", place, f"Write {_quoted(shown)}.")


def _is_whole(value: str) -> bool:
    """True for the rest of a line that closes nothing which was opened before it."""
    return all(value.count(begin) == value.count(end) for begin, end in ("{}", "[]")) and not value.endswith(",")


def _too_early(line: str, quoted: Place, ended: Place) -> Mistake:
    """The mistake of a text in quotes behind which something follows that cannot."""
    shown = line[quoted.column : ended.column] if quoted.line == ended.line else line[quoted.column :]
    mark = shown[:1]
    if shown.count("{{") > shown.count("}}") and quoted.line == ended.line:
        other = {'"': "single quotes", "'": "double quotes"}[mark]
        message = f"the text ends inside its expression, at the next `{mark}`"
        return Mistake(message, Place(quoted.line, quoted.column, len(shown)), f"Write {other} inside of it.")
    key = _KEY.match(line)
    alone = key is not None and quoted.line == ended.line and not line[key.end() : quoted.column].strip()
    if alone and mark not in line[ended.column :]:
        # The value begins with a quote that is closed, and goes on behind it.
        whole = line[quoted.column :].partition(" #")[0].rstrip()
        message = "text follows behind the closing quote"
        return Mistake(message, Place(quoted.line, quoted.column, len(whole)), f"Write {_quoted(whole)}.")
    if mark == "'" and quoted.line == ended.line and re.match(r"\w[^']*'", line[ended.column :]):
        message = "the text ends at the next `'`"
        return Mistake(message, Place(quoted.line, quoted.column, len(shown)), "Put double quotes around it.")
    return _unclosed(quoted, ended)


def _unclosed(quoted: Place, ended: Place | None) -> Mistake:
    end = "" if ended is None else f": the text ends in line {ended.line + 1}, column {ended.column}"
    return Mistake(f"this quote is not closed where its text ends{end}", quoted, "Close it at the end of the text.")


def _ends_at(text: str, place: Place) -> Place | None:
    """The beginning of the text in quotes that ends right before a place; None when none does."""
    *lines, last = _BREAKS.split(text)[max(0, place.line - FAR) : place.line + 1] or [""]
    before = "\n".join([*lines, last[: place.column]]).rstrip(" ")
    for match in _IN_QUOTES.finditer(before):
        if match.end() == len(before):
            line = before.count("\n", 0, match.start(1))
            column = match.start(1) - (before.rfind("\n", 0, match.start(1)) + 1)
            return Place(place.line - len(lines) + line, column, 1)
    return None


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'
