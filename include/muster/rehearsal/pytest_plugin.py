"""Collects `*.test.yaml` files: with Muster installed, pytest rehearses the automations of a site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.language.folder import REHEARSAL


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a file that rehearses an automation below a folder `automations`; None for any other file."""
    if file_path.name.endswith(REHEARSAL) and any(folder.name == "automations" for folder in file_path.parents):
        script: pytest.Collector = ScriptFile.from_parent(parent, path=file_path)
        return script
    return None


class ScriptFile(pytest.File):
    """A file of cases."""

    def collect(self) -> Iterator[pytest.Item]:
        """One test for the automation: it holds in every scenario."""
        yield Rehearsed.from_parent(self, name="rehearsal")


class Rehearsed(pytest.Item):
    """Every scenario of one automation."""

    def runtest(self) -> None:
        """Play all scenarios; fail with the problems of each."""
        # Imported here: the plugin is loaded in every pytest run of a site, also where nothing is rehearsed.
        from muster.rehearsal.rehearsing import rehearsed
        from muster.rehearsal.script import read_script
        from muster.rehearsal.stage import own_server

        top = next(folder for folder in self.path.parents if folder.name == "automations")
        with own_server() as (server, folder):
            judged = rehearsed(top.parent, read_script(self.path), server, folder)
        wrong = [(name, said) for name, said in judged if said]
        if wrong:
            raise AssertionError("\n".join(f"{name}: {'; '.join(said)}" for name, said in wrong))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """What is wrong, without the frames of the rehearsal."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The file's name."""
        return self.path, None, f"{self.path.name}: {self.name}"
