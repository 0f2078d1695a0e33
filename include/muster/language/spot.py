"""The place of one step in its file, and the checks of the names that stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING

from muster.language.channels import CHANNELS
from muster.language.explain import Located, shown_value
from muster.language.expressions import is_expression
from muster.language.literals import fits
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path
from muster.language.steps import AgentFallback, Fallback, SkillFallback, Target

if TYPE_CHECKING:
    from muster.language.site_catalog import SiteCatalog


@dataclass(frozen=True)
class Spot:
    """A step, or something else that names skills and agents, at its place in a file."""

    document: Located
    path: Path
    """Where it stands; the paths of the methods begin there."""
    settings: Mapping[str, object]
    catalog: SiteCatalog
    ids: Sequence[str] = ()
    """The ids of all steps."""

    def problem(
        self, message: str, *path: str | int, key: bool = False, suggestion: str | None = None, offset: int = 0
    ) -> Problem:
        """A problem there, or below."""
        return self.document.problem(message, (*self.path, *path), key=key, suggestion=suggestion, offset=offset)

    def steps(self, names: Sequence[str], *path: str | int) -> Iterator[Problem]:
        """One problem for each of the names, a list or a single text, that no step has."""
        for position, name in enumerate(names):
            # The model makes a list of a single text, which has no positions in the file.
            written = reduce(getitem, (*self.path, *path), self.document.data)
            yield from self.step(name, *path, *([position] if isinstance(written, list) else []))

    def step(self, name: str, *path: str | int) -> Iterator[Problem]:
        """What is wrong with the name of a step."""
        if name not in self.ids:
            several = [part.strip() for part in name.split(",")]
            listed = f"Write a list: `[{', '.join(several)}]`." if set(several) <= set(self.ids) else None
            bare = name.strip("{ }").removeprefix("steps.")
            alone = f"Write `{bare}`, the step's name alone." if bare in self.ids else None
            suggestion = listed or alone or did_you_mean(name, self.ids) or f"The steps are {', '.join(self.ids)}."
            yield self.problem(f"there is no step `{name}`", *path, suggestion=suggestion)

    def addresses(self, targets: Sequence[Target], *path: str | int) -> Iterator[Problem]:
        """What is wrong with the places of notices that stand there as they are."""
        for position, target in enumerate(targets):
            channel = next(candidate for candidate in CHANNELS.values() if isinstance(target, candidate.model))
            to = getattr(target, channel.name)
            for number, place in enumerate([to] if isinstance(to, str) else to):
                if not is_expression(place) and not channel.is_target(place):
                    below = [] if isinstance(to, str) else [number]
                    message = f"`{place}` is not {channel.wanted}"
                    several = [part.strip() for part in re.split("[,;]", place)]
                    whole = len(several) > 1 and all(map(channel.is_target, several))
                    remedy = f"Write a list: `[{', '.join(several)}]`." if whole else channel.remedy
                    yield self.problem(message, *path, position, channel.name, *below, suggestion=remedy)

    def agent(self, name: str, *path: str | int) -> Iterator[Problem]:
        """What is wrong with the name of an agent."""
        if self.catalog.agents.get(name) is None:
            suggestion = did_you_mean(name, self.catalog.agents.by_id) or "`muster agents` shows them all."
            yield self.problem(f"there is no agent `{name}`", *path, suggestion=suggestion)

    def skill(self, name: str, given: Mapping[str, object], path: Path, arguments: Path) -> Iterator[Problem]:
        """What is wrong with the name of a skill, which stands at `path`, and with its arguments."""
        entry = self.catalog.skills.get(name)
        if entry is None:
            skills = self.catalog.skills
            suggestion = skills.unreadable(name) or did_you_mean(name, skills.entries)
            suggestion = suggestion or "`muster skill --list` shows them all."
            yield self.problem(f"there is no skill `{name}`", *path, suggestion=suggestion)
            return
        known = {parameter.name: parameter.annotation for parameter in entry.parameters}
        for argument, value in given.items():
            if not fits(value, annotation := known.get(argument, "Any")):
                message = f"the skill `{name}` takes `{annotation}` as `{argument}`, not {shown_value(value)}"
                yield self.problem(message, *arguments, argument)
            if argument not in known and not entry.takes_any:
                suggestion = did_you_mean(argument, known) or f"It takes {', '.join(known) or 'none'}."
                message = f"the skill `{name}` takes no argument `{argument}`"
                yield self.problem(message, *arguments, argument, key=True, suggestion=suggestion)
        # An argument with a misspelt name is told as that, and not as missing too.
        meant = {did_you_mean(argument, known) for argument in given if argument not in known}
        needed = [parameter.name for parameter in entry.parameters if parameter.required]
        missing = [name for name in needed if name not in given and f"Did you mean `{name}`?" not in meant]
        if missing:
            words = ", ".join(f"`{argument}`" for argument in missing)
            message = f"the skill `{name}` needs {words}"
            yield self.problem(message, *path, suggestion=f"Give it in `with`: `with: {{ {missing[0]}: … }}`.")

    def fallback(self, other: Fallback | None, given: Mapping[str, object], ask: str | None) -> Iterator[Problem]:
        """What is wrong with a step's `fallback`; `given` and `ask` are the step's own."""
        if isinstance(other, SkillFallback):
            place: Path = ("with",) if other.arguments is None else ("fallback", "with")
            arguments = given if other.arguments is None else other.arguments
            yield from self.skill(other.skill, arguments, ("fallback", "skill"), place)
        elif isinstance(other, AgentFallback):
            yield from self.agent(other.agent, "fallback", "agent")
            if other.ask is None and ask is None:
                yield self.problem("`ask` is missing: what the agent is asked", "fallback")
