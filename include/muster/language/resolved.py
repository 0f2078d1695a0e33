"""Parts of a definition that several steps share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from muster.language.channels import CHANNELS
from muster.yaml_model import YamlModel


class Resolved(BaseModel):
    """The base of every part of a definition."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ResolvedClassRetry(Resolved):
    """What differs for one kind of failure; None for what does not."""

    times: int | None = None
    """How often this kind is tried again, counted for itself."""
    delay: float | None = None
    backoff: float | None = None
    max_delay: float | None = None


class ResolvedRetry(Resolved):
    """How a failed attempt is repeated."""

    times: int = 0
    """How often the step is tried again after its first attempt."""
    delay: float = 10.0
    """Seconds of the longest wait before the second attempt."""
    backoff: float = 2.0
    """What that is multiplied by for each further wait."""
    max_delay: float = 600.0
    """Seconds of the longest wait."""
    on: dict[str, ResolvedClassRetry] = {}
    """What differs, by kind of failure."""


class ResolvedCompensation(Resolved):
    """What undoes a step."""

    skill: str
    arguments: dict[str, object] = {}
    retry: ResolvedRetry = ResolvedRetry(times=5)
    timeout: float = 900.0
    """Seconds one attempt may take: a run must not hang half undone."""
    references: tuple[str, ...] = ()
    """Ids of the steps its expressions use, sorted."""


class ResolvedSkillFallback(Resolved):
    """A skill that takes over when a step failed for good."""

    skill: str
    arguments: dict[str, object] = {}
    """Its own, or the step's."""


class ResolvedAgentFallback(Resolved):
    """An agent that takes over when a step failed for good."""

    agent: str
    ask: str
    """Its own, or the step's."""
    arguments: dict[str, object] = {}
    """Its own, or the step's."""


ResolvedFallback = ResolvedSkillFallback | ResolvedAgentFallback
"""What takes over when a step failed for good; told apart by what they name."""


class ResolvedTarget(Resolved):
    """Where a notice goes: one place or a list of them, under the name of the channel, beside what the notice says."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | tuple[str, ...]]

    subject: str | None = None
    text: str | None = None
    """None where the notice has a text of its own, as in a deadline."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        if unknown := values.keys() - CHANNELS.keys() - cls.model_fields.keys():
            raise ValueError(f"there is no channel {', '.join(sorted(unknown))}")
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, target: YamlModel) -> ResolvedTarget:
        """A target as a person has written it."""
        return cls.model_validate(target.model_dump())

    @property
    def places(self) -> list[tuple[str, str]]:
        """Each place it names: the channel, and the place there."""
        return places_in(self.__pydantic_extra__)


def places_in(target: Mapping[str, object]) -> list[tuple[str, Any]]:
    """The same for a target whose expressions are evaluated; a channel that is null is left out."""
    named = ((name, target.get(name)) for name in CHANNELS)
    return [(name, place) for name, to in named for place in _listed(to)]


def _listed(to: object) -> Iterator[object]:
    """The places themselves: in a list of them an expression may stand that gives several."""
    if isinstance(to, list | tuple):
        for place in to:
            yield from _listed(place)
    elif to is not None:
        yield to


class ResolvedTrigger(Resolved, ABC):
    """What starts a run: the base of every kind."""

    @property
    @abstractmethod
    def said(self) -> str:
        """What it waits for, in a few words for people."""

    @property
    def folder(self) -> str | None:
        """The folder on this machine whose files its runs are given."""
        return None


class ResolvedPersonal(Resolved):
    """Whom a run is about: all of its data is sealed, except its structure and what is declared impersonal."""

    subject: str
    """An expression that names the person."""
    impersonal: tuple[str, ...] = ()
    """The steps whose outputs are stored as they are."""
    outputs: dict[str, tuple[str, ...]] = {}
    """Paths inside the outputs of impersonal steps that are sealed all the same; the empty one stands for all of it."""
    inputs: tuple[str, ...] = ()
    """Paths inside `inputs`: all inputs are sealed, named or not."""
    passing: tuple[str, ...] = ()
    """Only in definitions of earlier versions, which sealed less."""
