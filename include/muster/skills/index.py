"""Which skills there are, read from their source without importing it.

An automation is checked and compiled by a process that must not pay for importing the libraries skills use.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from muster.files import files_below
from muster.skills.registry import Lane

__all__ = ["SHIPPED", "Lane", "Parameter", "SkillEntry", "SkillIndex", "scan", "skill_index"]

# `ast.parse` raises the last two of source that is nested too deeply.
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
SHIPPED = Path(__file__).parent
"""The folder of the skills that come with Muster."""


@dataclass(frozen=True)
class Parameter:
    """One argument a skill takes."""

    name: str
    required: bool
    annotation: str = "Any"
    """Its type, in the words of the source."""


@dataclass(frozen=True)
class SkillEntry:
    """What the source says of one skill."""

    name: str
    lane: Lane
    timeout: float | None
    """Seconds one call may take; None for no limit."""
    file: str
    line: int
    parameters: tuple[Parameter, ...]
    """In the order of the signature, `context` left out."""
    takes_any: bool
    """True when the function has `**` parameters."""
    is_async: bool
    summary: str
    """First line of the docstring."""
    fields: frozenset[str] | None = None
    """The names in what it returns; None where this file does not say them."""


class SkillIndex:
    """The skills of some folders; a file is parsed when a skill in it is asked for."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def get(self, name: str) -> SkillEntry | None:
        """The skill of that name, or None. A later folder wins over an earlier one."""
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def unreadable(self, name: str) -> str | None:
        """Why a skill is not known although a file names it: the file cannot be read, or no run looks there.

        None if neither is the reason.
        """
        for path in self._naming(name):
            if obstacle := _obstacle(path):
                return obstacle
            if not self._is_place(path, name) and any(entry.name == name for entry in scan(path)):
                place = self._folders[-1] / f"{name.partition('.')[0]}.py"
                return f"{path} has it, where no run looks: move it to {place}."
        return None

    def has_type(self, name: str) -> bool:
        """True when a domain's file binds the name of a type, `<domain>.<name>`; what that is, an import would say."""
        domain, _, attribute = name.partition(".")
        if not domain.isidentifier():
            return False
        files = [self._folders[-1] / f"{domain}.py", SHIPPED / f"{domain}.py", SHIPPED / domain / "__init__.py"]
        return any(_binds(path, attribute.partition(".")[0]) for path in files)

    @cached_property
    def entries(self) -> dict[str, SkillEntry]:
        """Every skill by name, sorted. Parses every file that has one."""
        named = {entry.name: entry for path in self._files for entry in scan(path) if self._is_place(path, entry.name)}
        return dict(sorted(named.items()))

    @cached_property
    def _found(self) -> dict[str, SkillEntry | None]:
        return {}

    @cached_property
    def _files(self) -> list[Path]:
        return [path for folder in self._folders for path in sorted(map(Path, files_below(folder, (".py",))))]

    def _search(self, name: str) -> SkillEntry | None:
        winner = None
        for path in self._naming(name):
            if self._is_place(path, name):
                winner = next((entry for entry in scan(path) if entry.name == name), winner)
        return winner

    def _is_place(self, path: Path, name: str) -> bool:
        """Whether a run looks for a skill of this name there, as `get_skill` does."""
        domain = name.partition(".")[0]
        return path.is_relative_to(SHIPPED / domain) or any(path == folder / f"{domain}.py" for folder in self._folders)

    def _naming(self, name: str) -> Iterator[Path]:
        quoted = re.compile(rb"""["']%s["']""" % re.escape(name.encode()))
        return (path for path in self._files if quoted.search(_read(path)))


def skill_index(site: Path | None = None) -> SkillIndex:
    """The skills that come with Muster, and those of a site's own folder."""
    return SkillIndex(SHIPPED, *([site] if site is not None and site.is_dir() else []))


def scan(path: Path) -> tuple[SkillEntry, ...]:
    """The skills one file defines, in its order; a file that is not Python defines none."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    # The file's time and size are part of the cache's key, so that an edit is seen.
    return _scan(path, stat.st_mtime_ns, stat.st_size)


def _read(path: Path) -> bytes:
    try:
        stat = path.stat()
        return _content(path, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return b""


@lru_cache(maxsize=1024)
def _content(path: Path, mtime: int, size: int) -> bytes:
    content = path.read_bytes()
    # Nothing is kept of a file without the word, because it defines no skill.
    return content if b"skill" in content else b""


@lru_cache(maxsize=1024)
def _scan(path: Path, mtime: int, size: int) -> tuple[SkillEntry, ...]:
    content = _content(path, mtime, size)
    if b"@" not in content:
        return ()
    try:
        return tuple(_entries(ast.parse(content), path))
    except _UNREADABLE:
        return ()


def _binds(path: Path, name: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (OSError, *_UNREADABLE):
        return False
    return any(
        (isinstance(node, ast.ClassDef) and node.name == name)
        # `import *` may bind any name: only an import could tell.
        or (isinstance(node, ast.alias) and (node.asname or node.name) in (name, "*"))
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name)
        for node in nodes
    )


def _obstacle(path: Path) -> str | None:
    try:
        tuple(_entries(ast.parse(_read(path)), path))
    except SyntaxError as error:
        return f"{path}:{error.lineno} names it, and cannot be read: {error.msg}."
    except ValueError as error:
        return f"{path} names it, and cannot be read: {error}."
    except (RecursionError, MemoryError):
        return f"{path} names it, and is nested too deeply to be read."
    return None


def _entries(tree: ast.Module, path: Path) -> Iterator[SkillEntry]:
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if entry := _entry(node, decorator, path, classes):
                    yield entry


def _fields(kind: ast.expr | None, classes: Mapping[str, ast.ClassDef]) -> frozenset[str] | None:
    """The names of a plain model's fields; None of everything else, and where they may differ in the output."""
    known = classes.get(kind.id) if isinstance(kind, ast.Name) else None
    if known is None or known.decorator_list or known.keywords or len(known.bases) != 1:
        return None
    if _NOT_PLAIN.search(ast.unparse(known)):
        return None
    base = known.bases[0]
    above = frozenset() if isinstance(base, ast.Name) and base.id == "BaseModel" else _fields(base, classes)
    own = {
        node.target.id for node in known.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return None if above is None else above | own


_NOT_PLAIN = re.compile(r"alias|extra|computed_field|serializer|RootModel")


def _entry(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    decorator: ast.expr,
    path: Path,
    classes: Mapping[str, ast.ClassDef],
) -> SkillEntry | None:
    if not isinstance(decorator, ast.Call) or _called(decorator) != "skill" or not decorator.args:
        return None
    options = {keyword.arg: _literal(keyword.value) for keyword in decorator.keywords}
    name, lane, timeout = _literal(decorator.args[0]), options.get("lane", "worker"), options.get("timeout")
    if not isinstance(name, str):
        return None
    return SkillEntry(
        name=name,
        lane="async" if lane == "async" else "worker",
        timeout=float(timeout) if isinstance(timeout, int | float) else None,
        file=str(path),
        line=function.lineno,
        parameters=tuple(_parameters(function.args)),
        takes_any=function.args.kwarg is not None,
        is_async=isinstance(function, ast.AsyncFunctionDef),
        fields=_fields(function.returns, classes),
        summary=(ast.get_docstring(function) or "").partition("\n")[0],
    )


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _literal(node: ast.expr) -> object:
    try:
        value: object = ast.literal_eval(node)
    except ValueError:
        return None
    return value


def _parameters(arguments: ast.arguments) -> Iterator[Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    first_default = len(positional) - len(arguments.defaults)
    for position, argument in enumerate(positional):
        if argument.arg != "context":
            yield _parameter(argument, required=position < first_default)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.arg != "context":
            yield _parameter(argument, required=default is None)


def _parameter(argument: ast.arg, *, required: bool) -> Parameter:
    annotation = "Any" if argument.annotation is None else ast.unparse(argument.annotation)
    return Parameter(argument.arg, required, annotation)
