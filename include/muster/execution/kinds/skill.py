"""`skill`: calls a typed Python function."""

from __future__ import annotations

from collections.abc import Mapping

from muster.execution.action import Action
from muster.execution.piece import Answer, Piece
from muster.execution.reading import documents_of_run
from muster.execution.services import Services
from muster.language.expressions import evaluate
from muster.language.kinds.skill import ResolvedSkill
from muster.recovery.fencing import fenced
from muster.skills.calling import call_skill
from muster.skills.registry import SkillContext, get_skill


async def call(services: Services, piece: Piece, name: str, arguments: Mapping[str, object]) -> Answer:
    """Call a skill for a piece of work."""
    skill = get_skill(name, services.site)
    values = evaluate(arguments, piece.variables, where=f"step {piece.step.id}, with")
    output = await call_skill(skill, values, skill_context(services, piece))
    return Answer(output=output, output_type=f"skill:{skill.name}")


def skill_context(services: Services, piece: Piece) -> SkillContext:
    """What a skill may know of the piece it works for."""
    key = piece.effect_key
    return SkillContext(
        run=piece.view.id,
        step=piece.step.id,
        index=piece.index,
        key=f"{key}/undo" if piece.undoes else key,
        undoes=key if piece.undoes else None,
        now=services.clock(),
        database=fenced(services.database),
        workspace=services.workspace(piece.view.id),
        settings=piece.view.definition.settings,
        documents=documents_of_run(services, piece.view),
    )


async def _act(services: Services, piece: Piece, step: ResolvedSkill) -> Answer:
    return await call(services, piece, step.skill, step.arguments)


def _is_blocking(services: Services, step: ResolvedSkill) -> bool:
    return not get_skill(step.skill, services.site).is_async


ACTION = Action(_act, uses_threads=_is_blocking)
