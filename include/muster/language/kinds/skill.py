"""`skill`: calls a typed Python function."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from muster.language.fields import Values
from muster.language.resolved_step import ResolvedStep
from muster.language.shares import resolve_shares
from muster.language.step_kind import StepKind, object_of
from muster.language.steps import Fallback, SharingStep
from muster.yaml_model import SkillName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.language.problems import Problem
    from muster.language.site_catalog import SiteCatalog
    from muster.language.spot import Spot


class SkillStep(SharingStep):
    """Calls a skill: a typed Python function."""

    kind: ClassVar[str] = "skill"
    skill: SkillName
    """The skill's name, `<domain>.<verb_noun>`."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """The skill's arguments by name."""
    fallback: Fallback | None = None
    """What takes over when the step failed for good."""


class ResolvedSkill(ResolvedStep):
    """Calls a skill."""

    kind: Literal["skill"]
    skill: str
    arguments: dict[str, object] = {}


def _resolve(step: SkillStep, catalog: SiteCatalog) -> dict[str, object]:
    entry = catalog.skills.get(step.skill)
    return {
        "skill": step.skill,
        "context": resolve_shares(step.context),
        "arguments": step.arguments,
        "fallback": step.fallback.resolved(step.arguments, None) if step.fallback else None,
        "lane": entry.lane if entry else None,
        "timeout": entry.timeout if entry else None,
    }


def _gives(step: SkillStep, catalog: SiteCatalog) -> dict[str, object] | None:
    entry = catalog.skills.get(step.skill)
    return object_of(entry.fields) if entry is not None and entry.fields and step.fallback is None else None


def _check(step: SkillStep, spot: Spot) -> Iterator[Problem]:
    yield from spot.skill(step.skill, step.arguments, ("skill",), ("with",))
    yield from spot.fallback(step.fallback, step.arguments, None)


KIND = StepKind(
    model=SkillStep,
    resolved=ResolvedSkill,
    place=10,
    lanes=("worker", "async"),
    resolve=_resolve,
    gives=_gives,
    check=_check,
    example="""automation: file_letters
inputs:
  letters: { type: array, items: { type: string }, default: [] }
steps:
  - id: read
    each: "{{ inputs.letters }}"
    pack: 100
    skill: office.read_letter
    with: { uri: "{{ item }}" }
    retry: { times: 3, delay: 10s, backoff: 2 }
    timeout: 2m

  - id: file
    each: "{{ steps.read }}"
    skill: office.file_letter
    with: { letter: "{{ item }}", folder: "{{ 'large' if item.amount > settings.limit else 'small' }}" }
""",
    output="What the function returns.",
    output_example='[{"uri": "letters/1.txt", "amount": "1000", "sender": "post@example.com"}]',
)
