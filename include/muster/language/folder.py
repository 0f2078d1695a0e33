"""A folder of automations, read into a catalogue; one bad file never hides the others."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from muster.files import files_below
from muster.language.automation import Automation, FolderDefaults
from muster.language.checks import check
from muster.language.definition import Definition
from muster.language.explain import validate
from muster.language.expressions import ExpressionSyntaxError
from muster.language.merging import Layered, merged_documents
from muster.language.problems import LanguageError, Problem
from muster.language.reading import merged
from muster.language.resolve import resolve
from muster.language.runs import check_runs, runs
from muster.language.secret_settings import check_secrets
from muster.language.site_catalog import SiteCatalog, settings_files, shown
from muster.language.source import Source, read_source
from muster.language.usage import Usage, usage

DEFAULTS = "_defaults.yaml"
"""What a folder's automations have in common. No file whose name begins with `_` is an automation."""

REHEARSAL = ".test.yaml"
"""Ends the name of a file that rehearses the automation beside it."""

Named = dict[str, list[tuple[Path, Definition | None]]]
"""By name: the files that declare it, each with its definition when it is valid."""

MAX_CHAIN = 10
"""Longest chain of `extends`."""

BASES = (
    "Put it below `automations/`, under a name that ends in `.yaml`, but not in `.test.yaml`; neither its name nor its"
    " folder's begins with `.`."
)
"""What to do with a file that others extend and that would not be published."""


@dataclass
class Catalogue:
    """What a folder says."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    """The valid automations by name, sorted."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong, in the order of files and lines."""
    sources: dict[str, Path] = field(default_factory=dict)
    """The file of each valid automation."""
    broken: dict[Path, list[Problem]] = field(default_factory=dict)
    """The files of automations that are not valid, and why. In a published folder some have a definition still."""
    called: dict[Path, str] = field(default_factory=dict)
    """The name that each of those files declares; the file's own, without its ending, where none can be read."""


def load_folder(
    include: Path, *, only: str | None = None, published: bool = False, plugins: Path | None = None
) -> Catalogue:
    """Every automation in a folder, or the one named `only`.

    The folder holds `automations/**/*.yaml`, `agents/*.yaml`, `skills/*.py` and `settings.yaml`. With `only`,
    as few files are read as possible: those of that name if one declares the automation, else every file.

    Args:
        published: True for a version that was valid by the rules of the day it was published. What today's rules refuse
            is then reported as a problem, and the automation keeps its definition wherever one can be made.
        plugins: The folder of the project's own operators, where it does not lie beside this one.
    """
    return Folder(include, published=published, plugins=plugins).load(only)


class Folder:
    """One folder, with what its automations share read once."""

    def __init__(self, include: Path, *, published: bool = False, plugins: Path | None = None) -> None:
        self.root = include
        self.published = published
        self.catalog = SiteCatalog.of(include, published=published, plugins=plugins)
        self._defaults: dict[Path, list[Source] | LanguageError] = {}
        self._called: dict[Path, str] = {}

    def load(self, only: str | None = None) -> Catalogue:
        """The catalogue of all automations, or of one."""
        with collector_paused():
            return self._load(only)

    def _load(self, only: str | None) -> Catalogue:
        catalogue = Catalogue()
        named: Named = {}
        for path in self._candidates(only):
            name, definition, problems = self._read(path, only)
            if name is not None and only in (None, name):
                named.setdefault(name, []).append((path, definition))
            self._called[path] = name or _declared(path) or path.stem
            if problems and only in (None, self._called[path]):
                catalogue.broken[path] = problems
        self._settle(named, catalogue)
        self._check_runs(named, catalogue, whole=only is None)
        catalogue.called = {path: self._called[path] for path in catalogue.broken}
        shared = [*self.catalog.problems, *([] if only else self.catalog.agents.problems)]
        own = [problem for listed in catalogue.broken.values() for problem in listed]
        catalogue.problems = sorted({*shared, *own})
        return catalogue

    def _read(self, path: Path, only: str | None) -> tuple[str | None, Definition | None, list[Problem]]:
        """The name a file declares, its definition, and what is wrong with it."""
        name: str | None = None
        try:
            document = self._document(path)
            name = _name(document)
            if only not in (None, name):
                return name, None, []
            return name, *self._define(document)
        except LanguageError as error:
            return name, None, list(error.problems)

    def _settle(self, named: Named, catalogue: Catalogue) -> None:
        """Add the definition of each name that one file declares; files that share a name are broken, all of them."""
        for name in sorted(named):
            files = named[name]
            if len(files) > 1:
                places = {path: self._document(path).problem("", ("automation",)) for path, _ in files}
                for path, place in places.items():
                    others = " and ".join(other.where for at, other in places.items() if at != path)
                    problem = replace(
                        place,
                        message=f"another automation is named `{name}`: {others}",
                        suggestion="Rename one of them; until then neither runs.",
                    )
                    catalogue.broken.setdefault(path, []).append(problem)
            elif (definition := files[0][1]) is not None:
                catalogue.definitions[name] = definition
                catalogue.sources[name] = files[0][0]

    def _check_runs(self, named: Named, catalogue: Catalogue, *, whole: bool) -> None:
        """Report `run` steps that cannot work; unless the folder is published, take their automations out."""
        known = {name: files[0][1] or True for name, files in named.items()}

        def other(name: str) -> Definition | bool:
            if name not in known:
                known[name] = False if whole else self._other(name)
            return known[name]

        for name, definition in list(catalogue.definitions.items()):
            if not any(runs(definition)):
                continue
            path = catalogue.sources[name]
            if problems := list(check_runs(definition, self._document(path), other, self._names)):
                catalogue.broken.setdefault(path, []).extend(problems)
                if self.published:
                    continue
                del catalogue.definitions[name], catalogue.sources[name]

    def _other(self, name: str) -> Definition | bool:
        """An automation beside the one to load: its definition, True when it is not valid, False when there is none."""
        for path in self._candidates(name):
            declared, definition, _ = self._read(path, name)
            if declared == name:
                return definition or True
        return False

    def _names(self) -> Iterator[str]:
        """The names that files declare."""
        return filter(None, map(_declared, self._candidates(None)))

    def _define(self, document: Layered) -> tuple[Definition, list[Problem]]:
        """The definition, and what today's rules refuse of it if it was published before they did."""
        if self.catalog.problems and not (self.published and self.catalog.whole):
            # Settings are a part of the definition: without some of them it would be another one.
            raise LanguageError(self.catalog.problems)
        problems = [*self.catalog.problems, *check_secrets(document), *document.twice()]
        if problems and not self.published:
            raise LanguageError(problems)
        automation = validate(Automation, document)
        settings = merged(dict(self.catalog.settings), automation.settings)
        usages = _usages(document.data["steps"])
        problems += check(automation, document, settings, usages, self.catalog)
        if problems and not self.published:
            raise LanguageError(problems)
        try:
            return resolve(automation, settings, usages, self.catalog), problems
        except Exception:
            # A published version is resolved although today's rules refuse it. If that fails, these problems say why.
            if problems:
                raise LanguageError(problems) from None
            raise

    def _document(self, path: Path) -> Layered:
        """The file merged with those it extends and with its folders' defaults."""
        chain = self._chain(path)
        data: object = {}
        layers = [*chain, *self._defaults_for(path.parent)]
        for layer in reversed(layers):
            data = merged_documents(data, _inherited(layer.data, own=layer is chain[0]))
        return Layered(data, layers)

    def _chain(self, path: Path) -> list[Source]:
        """The file and the files it extends, one after the other."""
        chain = [read_source(path, name=shown(path, self.root), published=self.published)]
        paths = [Path(os.path.normpath(path))]
        while isinstance(chain[-1].data, dict) and isinstance(target := chain[-1].data.get("extends"), str):
            # The path as it is written, links not followed: a link is published as a copy of its target, in its place.
            base = Path(os.path.normpath(paths[-1].parent / target))
            source = chain[-1]
            if base in paths:
                circle = " → ".join(other.name for other in [*paths[paths.index(base) :], base])
                raise LanguageError([source.problem(f"these files extend each other: {circle}", ("extends",))])
            if not base.resolve().is_relative_to(self.root.resolve()):
                raise LanguageError([source.problem("the file lies outside the folder", ("extends",))])
            if not base.is_file():
                raise LanguageError([source.problem(f"there is no file `{target}`", ("extends",))])
            if str(base) not in self._published_files:
                message = f"`{target}` would not be published with this file"
                raise LanguageError([source.problem(message, ("extends",), suggestion=BASES)])
            if len(chain) > MAX_CHAIN:
                raise LanguageError([source.problem(f"more than {MAX_CHAIN} files extend each other", ("extends",))])
            chain.append(read_source(base, name=shown(base, self.root), published=self.published))
            paths.append(base)
        return chain

    @cached_property
    def _published_files(self) -> frozenset[str]:
        return frozenset(os.path.normpath(path) for path in files_of(self.root))

    def _defaults_for(self, folder: Path) -> list[Source]:
        """The defaults of a folder and of those above it, the nearest first."""
        if folder not in self._defaults:
            try:
                self._defaults[folder] = self._read_defaults(folder)
            except LanguageError as error:
                # Kept as well: each automation below the folder has this problem, and the file is read once.
                self._defaults[folder] = error
        defaults = self._defaults[folder]
        if isinstance(defaults, LanguageError):
            raise defaults
        return defaults

    def _read_defaults(self, folder: Path) -> list[Source]:
        top = self.root / "automations"
        above = [] if folder == top or top not in folder.parents else self._defaults_for(folder.parent)
        path = folder / DEFAULTS
        if not path.is_file():
            return above
        source = read_source(path, name=shown(path, self.root), published=self.published)
        validate(FolderDefaults, source)
        return [source, *above]

    def _candidates(self, only: str | None) -> list[Path]:
        top = self.root / "automations"
        if only is None:
            return sorted(Path(path) for path in _yaml_files(top))
        declared = re.compile(rf"""^automation:[ \t]*["']?{re.escape(only)}["']?[ \t]*(#.*)?$""".encode(), re.MULTILINE)
        endings = (f"{os.sep}{only}.yaml", f"{os.sep}{only}.yml")
        named = sorted(Path(path) for path in _yaml_files(top) if path.endswith(endings))
        # Nearly every automation stands in a file of its name. Only for the others is each file searched.
        if any(declared.search(_content(path)) for path in named):
            return named
        return sorted(path for path in map(Path, _yaml_files(top)) if only.encode() in _content(path))


def files_of(include: Path) -> Iterator[Path]:
    """The files that a version is made of: YAML, the site's own skills and programs, and the settings in use.

    They are the files that `muster lint` reads, so that what is published has been checked. Rehearsals and other
    environments' settings are left out, because no run reads them.
    """
    for folder in ("automations", "agents", "skills"):
        for path in sorted(files_below(include / folder, (".yaml", ".yml", ".py"))):
            if not path.endswith(REHEARSAL):
                yield Path(path)
    # Whatever programs of agents are made of.
    yield from sorted(Path(path) for path in files_below(include / "commands", ("",)))
    yield from filter(Path.is_file, (include / name for name in settings_files()))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without Python's search for cycles inside; nestable."""
    # Loading makes a great many objects and no garbage; searching them for cycles takes a quarter of its time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _yaml_files(folder: Path) -> Iterator[str]:
    # Texts, because a path object each costs more than the walk.
    for path in files_below(folder, (".yaml", ".yml")):
        if path[path.rindex(os.sep) + 1] != "_" and not path.endswith(REHEARSAL):
            yield path


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _declared(path: Path) -> str | None:
    """The name that a file declares, by a search that also works where the file is not valid YAML."""
    match = re.search(rb"""^automation:[ \t]*["']?(\w+)""", _content(path), re.MULTILINE)
    return match[1].decode() if match else None


def _usages(steps: list[Any]) -> dict[str, Usage]:
    """What each step refers to; a step whose expressions cannot be read is left out."""
    usages: dict[str, Usage] = {}
    for step in steps:
        try:
            usages[step["id"]] = usage(step)
        except ExpressionSyntaxError:
            # An earlier step may have the same id, and what it refers to must not stand for this one.
            usages.pop(step["id"], None)
    return usages


def _inherited(data: object, *, own: bool) -> object:
    """What a file passes on: all of it, but the name and the base it extends are its own."""
    if own or not isinstance(data, dict):
        return data
    return {key: value for key, value in data.items() if key not in ("automation", "extends")}


def _name(document: Layered) -> str | None:
    name = document.data.get("automation") if isinstance(document.data, dict) else None
    return name if isinstance(name, str) else None
