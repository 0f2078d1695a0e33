"""Skills: typed Python functions usable as a step and as an agent's tool."""

from muster.skills.registry import Skill, SkillContext, skill

__all__ = ["Skill", "SkillContext", "skill"]
