"""`files`: new files in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from muster.files import UnusablePath, path_named
from muster.language.durations import Duration, parse_duration
from muster.language.expression_errors import ExpressionError
from muster.language.expressions import ExpressionSyntaxError, evaluate
from muster.language.fields import Text, Words
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path
from muster.language.resolved import ResolvedTrigger
from muster.language.spot import Spot
from muster.language.trigger_kind import Startable, TriggerKind, startable
from muster.yaml_model import Name, YamlModel


class Files(YamlModel):
    """Which files start a run."""

    path: Text
    """The folder to watch, on this machine: its path, or its `file://` URI; `settings` may be used."""
    match: Words = ["*"]
    """Name patterns such as `*.pdf`; a file whose name matches one of them counts. `settings` may be used."""
    input: Name | None = None
    """The input, an array, that gets the URIs of the new files; default: the only input that is an array."""
    every: Duration = "30s"
    """How often all files are looked at, also those changed in place. What is put there is noticed within a second."""


class FilesTrigger(YamlModel):
    """Starts a run for files that are new in a folder, all of them together."""

    files: Files
    """Which files, and the input they are given as."""


class ResolvedFiles(ResolvedTrigger):
    """New files in a folder."""

    path: str
    """The folder to watch, settings filled in."""
    match: tuple[str, ...] = ()
    input: str | None = None
    """The input that gets the URIs of the new files."""
    every: float | None = None
    """Seconds between two looks at all files of the folder."""

    @property
    def said(self) -> str:
        """Where the files are."""
        return f"files in {self.path}"

    @property
    def folder(self) -> str | None:
        """The folder that is watched."""
        return self.path


def _resolve(trigger: FilesTrigger, automation: Startable, settings: Mapping[str, object]) -> ResolvedFiles:
    files = trigger.files
    return ResolvedFiles(
        path=str(evaluate(files.path, {"settings": settings})),
        match=tuple(_patterns(files.match, settings)),
        input=files.input or default_input(automation),
        every=parse_duration(files.every),
    )


def _patterns(match: Sequence[str], settings: Mapping[str, object]) -> list[str]:
    return [str(evaluate(pattern, {"settings": settings})) for pattern in match]


def default_input(automation: Startable) -> str | None:
    """The only input that is an array, which new files are given as; None when there are none or several."""
    arrays = [name for name, schema in automation.inputs.items() if schema.get("type") == "array"]
    return arrays[0] if len(arrays) == 1 else None


def _check(trigger: FilesTrigger, automation: Startable, spot: Spot) -> Iterator[Problem]:
    yield from _folder(trigger.files.path, spot)
    yield from _match(trigger.files.match, spot)
    yield from _files(trigger, automation, spot)


def _folder(named: str, spot: Spot) -> Iterator[Problem]:
    try:
        folder = str(evaluate(named, {"settings": spot.settings}))
    except (ExpressionError, ExpressionSyntaxError):
        return  # What is wrong with it is said of every expression.
    try:
        path_named(folder)
    except UnusablePath as error:
        yield spot.problem(error.message, "files", "path", suggestion=error.remedy)
    except ValueError:
        # Only where it is: a whole URI may hold a password.
        message = f"no folder of `{folder.partition(':')[0]}://` can be watched, only one on this machine"
        remedy = "Write its path, or `file:///srv/letters`; what is elsewhere can be mounted as a folder."
        yield spot.problem(message, "files", "path", suggestion=remedy)


def _match(match: Sequence[str], spot: Spot) -> Iterator[Problem]:
    try:
        patterns = _patterns(match, spot.settings)
    except (ExpressionError, ExpressionSyntaxError):
        return  # That is said elsewhere, too.
    if not patterns:
        yield spot.problem("no pattern is named, so that no file starts a run", "files", "match")
    for pattern in patterns:
        if never := next((said for sign, said in _NEVER.items() if re.match(sign, pattern)), None):
            yield spot.problem(f"`{pattern}` matches no file: {never[0]}", "files", "match", suggestion=never[1])


_NEVER = {
    r".*/": ("it is the name alone that is matched", "Name the folder in `path`; those below it are not looked at."),
    r"\.": ("hidden files start no run", "Write the pattern without the `.` that it begins with, or `*.`."),
    r".*\{.*,.*\}": ("braces are no choice here", "Write a list: `match: ['*.pdf', '*.xml']`."),
    r".*\*.*,\s*\*": ("a comma separates nothing here", "Write a list: `match: ['*.pdf', '*.xml']`."),
    r"\s*$": ("it is empty", "Write a pattern such as `*.pdf`."),
}
"""What no file is ever found by, why, and what to write."""


def _files(trigger: FilesTrigger, automation: Startable, spot: Spot) -> Iterator[Problem]:
    name = trigger.files.input or default_input(automation)
    if name is None:
        yield spot.problem("which input gets the files is not clear: name an array in `input`", "files")
        return
    schema = automation.inputs.get(name)
    if schema is None:
        suggestion = did_you_mean(name, automation.inputs)
        yield spot.problem(f"there is no input `{name}`", "files", "input", suggestion=suggestion)
        return
    if schema.get("type") != "array":
        yield spot.problem(f"the input `{name}` is not an array", "files", "input")
    elif not _takes_texts(schema.get("items")):
        message = f"the input `{name}` gets the URIs of files, and its `items` are no texts"
        place: Path = ("inputs", name, "items")
        yield spot.document.problem(message, place, suggestion="Write `items: {type: string}`.")
    yield from startable(automation, name, spot, "files")


def _takes_texts(items: object) -> bool:
    kinds = items.get("type", "string") if isinstance(items, dict) else "string"
    return "string" in ([kinds] if isinstance(kinds, str) else kinds)


TRIGGER = TriggerKind(
    name="files",
    place=20,
    model=FilesTrigger,
    parts=(Files,),
    resolved=ResolvedFiles,
    known_by="path",
    resolve=_resolve,
    check=_check,
)
