"""What a `*.test.yaml` beside an automation says: cases to play, and what must come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from muster.language.explain import validate
from muster.language.fields import Text
from muster.language.source import read_source
from muster.yaml_model import Name, SkillName, YamlModel


class Call(YamlModel):
    """A skill that is called beside what is played."""

    skill: SkillName
    """The skill's name."""
    arguments: dict[str, object] = Field(default_factory=dict, alias="with")
    """Its arguments. `{folder}` in a text stands for the folder the file is in."""


class Mock(YamlModel):
    """What a step answers in place of doing anything."""

    output: object = None
    """The step's output; in a fan-out, of each item."""
    fails: Text | None = None
    """In place of an output: the step fails for good with these words."""


class Expected(YamlModel):
    """What must hold when a case has been played."""

    status: Literal["succeeded", "failed", "compensated", "stuck"] = "succeeded"
    """How the run ends."""
    steps: dict[Name, str] = {}
    """How steps end: `succeeded`, `failed`, `skipped` or `undone`."""
    hold: list[Text] = []
    """Expressions over `inputs` and `steps` that must be true."""


class Case(YamlModel):
    """One way through the automation."""

    name: Text
    """What it shows."""
    inputs: dict[Name, object] = {}
    """The run's inputs. `{folder}` in a text stands for the folder the file is in."""
    answers: dict[Name, Literal["approve", "reject"]] = {}
    """What people answer, by step; a step that is not named is approved."""
    mocks: dict[Name, Mock] = {}
    """Steps that are not performed, and what they answer."""
    expect: Expected = Expected()
    """What must come of it."""


class Script(YamlModel):
    """A file of cases."""

    automation: Name
    """The automation they play."""
    prepare: list[Call] = []
    """What is done first, once, for what the automation finds in the database."""
    state: list[Text] = []
    """SQL queries that say what matters in the database. Their answers must be the same however often something was
    repeated or crashed, and those of the beginning once everything has been undone."""
    witness: list[Call] = []
    """Skills that ask the other side what it has counted; the same holds for their answers. `context.run` is the run
    they are asked about."""
    cases: Annotated[list[Case], Field(min_length=1)]
    """The cases. The first is also played with every failure, repetition and crash."""


def read_script(path: Path) -> Script:
    """The script in a file.

    Raises:
        LanguageError: what is wrong with it, and where.
    """
    return placed(validate(Script, read_source(path)), path.parent)


def placed(script: Script, folder: Path) -> Script:
    """The script with `{folder}` filled in."""
    cases = [case.model_copy(update={"inputs": _filled(case.inputs, folder)}) for case in script.cases]
    called = {name: [_with_folder(call, folder) for call in getattr(script, name)] for name in ("prepare", "witness")}
    return script.model_copy(update={"cases": cases, **called})


def _with_folder(call: Call, folder: Path) -> Call:
    return call.model_copy(update={"arguments": _filled(call.arguments, folder)})


def _filled(value: object, folder: Path) -> object:
    if isinstance(value, str):
        return value.replace("{folder}", str(folder.resolve()))
    if isinstance(value, dict):
        return {key: _filled(inner, folder) for key, inner in value.items()}
    return [_filled(inner, folder) for inner in value] if isinstance(value, list) else value
