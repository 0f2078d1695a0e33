"""The automations whose runs live lives, and what a judge has to know of each: what every step is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from support.sources import source_of

Pack = Literal["1", "2", "all"]
NAMES = ("x", "y")
"""What `others` fans out over: an input, so that it never changes."""
SKILLS = source_of(__file__, "life_shapes")


@dataclass(frozen=True)
class Stage:
    """A step as the judge knows it."""

    id: str
    over: str | None = None
    """The step whose list it fans out over; None for a step outside a fan-out, and `inputs` for the input."""
    given: tuple[str, ...] = ()
    """The steps it is made from besides."""
    after: tuple[str, ...] = ()
    family: str | None = None
    """What its positions are those of: all steps of one family are aligned."""
    skill: str = "work"
    final: bool = False
    """True for the one step that may be undone, or never can be, and has a `when`."""
    asked: bool = False
    """True for a question to a person."""

    @property
    def names(self) -> tuple[str, ...]:
        """What its items may be called."""
        return NAMES if self.family == "names" else ("a", "b", "c", "d")


def _alone(id: str, *given: str, skill: str = "work", after: tuple[str, ...] = ()) -> Stage:
    return Stage(id, given=given, after=(*given, *after), skill=skill)


def _fan(id: str, over: str, *given: str, family: str = "list", after: tuple[str, ...] = (), **more: bool) -> Stage:
    return Stage(id, over, given, (*([] if over == "inputs" else [over]), *given, *after), family, **more)


LIST, LAST = _alone("list", skill="names"), _alone("last", "post")
SHAPES: dict[str, tuple[Stage, ...]] = {
    "chain": (LIST, _fan("read", "list"), _fan("check", "read"), _fan("post", "check", final=True), LAST),
    "through": (
        LIST,
        _fan("check", "list"),
        _alone("present", "check", skill="present"),
        _fan("post", "present", family="present", final=True),
        LAST,
    ),
    "between": (
        LIST,
        _fan("check", "list"),
        _alone("single", "check"),
        _fan("post", "check", "single", final=True),
        LAST,
    ),
    "asked": (
        LIST,
        _fan("check", "list"),
        _fan("approve", "check", asked=True),
        _fan("post", "check", after=("approve",), final=True),
        LAST,
    ),
    "decided": (
        LIST,
        _fan("check", "list"),
        Stage("decide", after=("check",), asked=True),
        _fan("post", "check", after=("decide",), final=True),
        LAST,
    ),
    "further": (
        LIST,
        _fan("check", "list"),
        Stage("decide", after=("check",), asked=True),
        _fan("post", "check", after=("decide",), final=True),
        _fan("more", "list", "post"),
        _alone("last", "more"),
    ),
    "ways": (
        LIST,
        _fan("one", "list"),
        _fan("two", "list"),
        _fan("post", "one", "two", final=True),
        LAST,
    ),
    "others": (
        LIST,
        _fan("other", "inputs", family="names"),
        _fan("check", "list"),
        _fan("post", "check", "other", final=True),
        LAST,
    ),
}
"""A chain of fan-outs; one over what came through of another; a step between two; a question about the
items, and one about all, also with a further step behind it; two ways
over one list that join; two ways over two lists."""
WHEN = "{{ steps.list | length > 2 or index == 0 }}"


def wanted(index: int, length: int) -> bool:
    """What `WHEN` says."""
    return length > 2 or index == 0


@dataclass(frozen=True)
class Form:
    """An automation."""

    shape: str = "chain"
    pack: Pack = "1"
    ends: Literal["", "undone", "irreversible"] = ""
    """What its one final step is."""
    when: bool = False

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Its steps in order."""
        return SHAPES[self.shape]

    def source(self) -> str:
        """The automation as it is written."""
        return (
            "automation: tested\n"
            f"inputs: {{folder: {{type: string}}, names: {{type: array, default: [{', '.join(NAMES)}]}}}}\n"
            "steps:\n" + "".join(f"  - {{{self._step(stage)}}}\n" for stage in self.stages)
        )

    def _step(self, stage: Stage) -> str:
        said = [f"id: {stage.id}", f"after: [{', '.join(stage.after)}]"]
        if stage.over is not None:
            said.append(f'each: "{{{{ {_named(stage.over)} }}}}"')
        if stage.asked:
            item = "{{ item }}" if stage.over is not None else "all"
            return ", ".join([*said, f'human: {{ask: "Post {item}?", assignees: [lead]}}'])
        if stage.over is not None:
            said.append(f"pack: {self.pack}")
        folder = 'folder: "{{ inputs.folder }}"'
        given = [folder, f"step: {stage.id}"]
        if stage.over is not None:
            given.append('index: "{{ index }}"')
        if stage.skill != "names":
            given.append(f"of: [{', '.join(self._given(stage))}]")
        said.append(f"skill: life.{stage.skill}, with: {{{', '.join(given)}}}")
        if stage.final and self.ends == "irreversible":
            said.append("irreversible: true")
        if stage.final and self.ends == "undone":
            undo = f'{folder}, step: {stage.id}, index: "{{{{ index }}}}"'
            said.append(f"compensate: {{skill: life.undo, with: {{{undo}}}}}")
        if stage.final and self.when:
            said.append(f'when: "{WHEN}"')
        return ", ".join(said)

    def _given(self, stage: Stage) -> list[str]:
        aligned = {each.id for each in self.stages if each.family is not None and each.family == stage.family}
        items = ['"{{ item }}"'] if stage.over is not None else []
        return items + [f'"{{{{ steps.{name}{"[index]" if name in aligned else ""} }}}}"' for name in stage.given]


def _named(over: str) -> str:
    return "inputs.names" if over == "inputs" else f"steps.{over}"
