"""A folder of automations, read into a catalogue; one bad file never hides the others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muster.language.automation import Automation, FolderDefaults
from muster.language.checks import check
from muster.language.definition import Definition
from muster.language.explain import validate
from muster.language.merging import Layered, merged, merged_documents
from muster.language.problems import LanguageError, Problem
from muster.language.resolve import resolve
from muster.language.source import Source, read_source
from muster.language.surroundings import Surroundings, shown

DEFAULTS = "_defaults.yaml"
"""The file of a folder that holds what its automations have in common. No file beginning with `_` is an automation."""

MAX_CHAIN = 10
"""Longest chain of `extends`."""


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
    """The files of automations that are not valid, and why."""


def load_folder(include: Path, *, only: str | None = None) -> Catalogue:
    """Every automation in a folder, or the one named `only`.

    The folder holds `automations/**/*.yaml`, `agents/*.yaml`, `skills/*.py` and `settings.yaml`. `only` reads as
    few files as it can: the file of that name if it declares the automation, else every file.
    """
    return Folder(include).load(only)


class Folder:
    """One folder, with what its automations share read once."""

    def __init__(self, include: Path) -> None:
        self.root = include
        self.among = Surroundings.of(include)
        self._defaults: dict[Path, list[Source] | LanguageError] = {}

    def load(self, only: str | None = None) -> Catalogue:
        """The catalogue of all automations, or of one."""
        catalogue = Catalogue()
        problems = [*self.among.problems] if only else [*self.among.problems, *self.among.agents.problems]
        named: dict[str, list[tuple[Path, Layered, Definition | None]]] = {}
        for path in self._candidates(only):
            try:
                document = self._document(path)
            except LanguageError as error:
                catalogue.broken[path] = list(error.problems)
                continue
            name = _name(document)
            if only is not None and name != only:
                continue
            try:
                definition: Definition | None = self._define(document)
            except LanguageError as error:
                catalogue.broken[path] = list(error.problems)
                definition = None
            if name is not None:
                named.setdefault(name, []).append((path, document, definition))
        self._settle(named, catalogue)
        problems += [problem for found in catalogue.broken.values() for problem in found]
        catalogue.problems = sorted(set(problems))
        return catalogue

    def _settle(self, named: dict[str, list[tuple[Path, Layered, Definition | None]]], catalogue: Catalogue) -> None:
        """Files of one name each become definitions; of those that share a name, neither."""
        for name in sorted(named):
            found = named[name]
            if len(found) > 1:
                for path, document, _ in found:
                    others = [other for other_path, other, _ in found if other_path != path]
                    catalogue.broken.setdefault(path, []).append(_same_name(name, document, others))
            elif (definition := found[0][2]) is not None:
                catalogue.definitions[name] = definition
                catalogue.sources[name] = found[0][0]

    def _define(self, document: Layered) -> Definition:
        automation = validate(Automation, document)
        settings = merged(dict(self.among.settings), automation.settings)
        if problems := check(automation, document, settings, self.among):
            raise LanguageError(problems)
        return resolve(automation, settings, self.among)

    def _document(self, path: Path) -> Layered:
        """The file merged with those it extends and with its folders' defaults."""
        chain = self._chain(path)
        data: Any = {}
        layers = [*chain, *self._defaults_for(path.parent)]
        for layer in reversed(layers):
            data = merged_documents(data, _inherited(layer.data, own=layer is chain[0]))
        return Layered(data, layers)

    def _chain(self, path: Path) -> list[Source]:
        """The file and the files it extends, one after the other."""
        chain = [read_source(path, name=shown(path, self.root))]
        paths = [path.resolve()]
        while isinstance(chain[-1].data, dict) and isinstance(target := chain[-1].data.get("extends"), str):
            base = (paths[-1].parent / target).resolve()
            source = chain[-1]
            if base in paths:
                circle = " → ".join(other.name for other in [*paths[paths.index(base) :], base])
                raise LanguageError([source.problem(f"these files extend each other: {circle}", ("extends",))])
            if not base.is_relative_to(self.root.resolve()):
                raise LanguageError([source.problem("the file lies outside the folder", ("extends",))])
            if not base.is_file():
                raise LanguageError([source.problem(f"there is no file `{target}`", ("extends",))])
            if len(chain) > MAX_CHAIN:
                raise LanguageError([source.problem(f"more than {MAX_CHAIN} files extend each other", ("extends",))])
            chain.append(read_source(base, name=shown(base, self.root.resolve())))
            paths.append(base)
        return chain

    def _defaults_for(self, folder: Path) -> list[Source]:
        """The defaults of a folder and of those above it, the nearest first."""
        if folder not in self._defaults:
            try:
                self._defaults[folder] = self._read_defaults(folder)
            except LanguageError as error:
                self._defaults[folder] = error
        found = self._defaults[folder]
        if isinstance(found, LanguageError):
            raise found
        return found

    def _read_defaults(self, folder: Path) -> list[Source]:
        top = self.root / "automations"
        above = [] if folder == top or top not in folder.parents else self._defaults_for(folder.parent)
        path = folder / DEFAULTS
        if not path.is_file():
            return above
        source = read_source(path, name=shown(path, self.root))
        validate(FolderDefaults, source)
        return [source, *above]

    def _candidates(self, only: str | None) -> list[Path]:
        paths = sorted(_yaml_files(self.root / "automations"))
        if only is None:
            return paths
        declared = re.compile(rf"""^automation:[ \t]*["']?{re.escape(only)}["']?[ \t]*(#.*)?$""".encode(), re.MULTILINE)
        named = [path for path in paths if path.stem == only]
        if any(declared.search(_content(path)) for path in named):
            return named
        return [path for path in paths if only.encode() in _content(path)]


def _yaml_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.endswith((".yaml", ".yml")) and not name.startswith(("_", ".")):
                yield Path(parent, name)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _inherited(data: Any, *, own: bool) -> Any:
    """What a file passes on: all of it, but the name and the base it extends are its own."""
    if own or not isinstance(data, dict):
        return data
    return {key: value for key, value in data.items() if key not in ("automation", "extends")}


def _name(document: Layered) -> str | None:
    name = document.data.get("automation") if isinstance(document.data, dict) else None
    return name if isinstance(name, str) else None


def _same_name(name: str, document: Layered, others: list[Layered]) -> Problem:
    places = " and ".join(other.problem("", ("automation",)).where for other in others)
    return document.problem(
        f"another automation is named `{name}`: {places}", ("automation",), suggestion="Rename one; neither runs."
    )
