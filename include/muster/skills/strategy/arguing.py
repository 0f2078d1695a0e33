"""A debate over a question: arguments for and against its options, and how strong each is once all are heard."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from pydantic import BaseModel, Field

from muster.errors import PermanentError
from muster.skills.registry import skill


class Argument(BaseModel):
    """A claim, and what it speaks for or against."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    claim: str = Field(min_length=1, max_length=2_000)
    strength: float = Field(default=0.5, ge=0, le=1)
    """How far it is believed by itself."""
    supports: str | None = None
    """The id of another argument that it speaks for; an option speaks for nothing."""
    attacks: str | None = None


class Heard(BaseModel):
    """One side of a debate."""

    side: Literal["for", "against"]
    arguments: list[Argument]


class Verdict(BaseModel):
    """What a debate came to."""

    option: str
    """The id of the option that is strongest."""
    text: str
    """Its claim: the strategy that is chosen."""
    strengths: dict[str, float]
    """How strong every argument is once all were heard, from 0 to 1."""
    why: list[str]
    """The arguments that speak for and against the option, in words, the strongest first."""


@skill("strategy.argue")
def argue(arguments: list[Argument], side: Literal["for", "against"]) -> Heard:
    """Gather one side of a debate: for, the options and what supports something; against, what attacks something."""
    own = [it for it in arguments if (it.attacks is not None) == (side == "against")]
    return Heard(side=side, arguments=own)


@skill("strategy.weigh_arguments")
def weigh_arguments(pro: Heard, contra: Heard) -> Verdict:
    """Choose the option that is strongest once all arguments were heard; of equals the first.

    The strength of an argument with the own strength v0, attackers va and supporters vs is that of DF-QuAD:

        F(v) = 1 - product of (1 - v_i),  d = |F(vs) - F(va)|
        v0 - v0 * d where F(va) >= F(vs), else v0 + (1 - v0) * d

    Source: A. Rago, F. Toni, M. Aurisicchio, P. Baroni: Discontinuity-Free Decision Support with Quantitative
    Argumentation Debates, KR 2016.

    Raises:
        PermanentError: there is no option, an argument speaks of one that is not there, or in a circle of itself.
    """
    arguments = {it.id: it for it in (*pro.arguments, *contra.arguments)}
    strengths: dict[str, float] = {}
    for name in _in_order(arguments):
        v0 = arguments[name].strength
        supported = _together(strengths[it.id] for it in arguments.values() if it.supports == name)
        attacked = _together(strengths[it.id] for it in arguments.values() if it.attacks == name)
        d = abs(supported - attacked)
        strengths[name] = v0 - v0 * d if attacked >= supported else v0 + (1 - v0) * d
    options = [it for it in arguments.values() if it.supports is None and it.attacks is None]
    if not options:
        raise PermanentError(
            "The debate has no option to choose.", remedy="Give an argument that neither supports nor attacks another."
        )
    best = max(options, key=lambda it: strengths[it.id])
    about = [it for it in arguments.values() if best.id in (it.supports, it.attacks)]
    return Verdict(
        option=best.id,
        text=best.claim,
        strengths={name: round(value, 4) for name, value in strengths.items()},
        why=[
            f"{'for' if it.supports else 'against'} ({strengths[it.id]:.2f}): {it.claim}"
            for it in sorted(about, key=lambda it: -strengths[it.id])
        ],
    )


def _in_order(arguments: dict[str, Argument]) -> list[str]:
    """The arguments, each after those that speak for or against it."""
    before: dict[str, set[str]] = {name: set() for name in arguments}
    for it in arguments.values():
        for of in filter(None, (it.supports, it.attacks)):
            if of not in arguments:
                raise PermanentError(f"The argument `{it.id}` speaks of `{of}`, which is not there.")
            before[of].add(it.id)
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise PermanentError(f"Arguments speak of each other in a circle: {' -> '.join(error.args[1])}.") from error


def _together(strengths: Iterable[float]) -> float:
    return 1 - reduce(lambda left, value: left * (1 - value), strengths, 1.0)
