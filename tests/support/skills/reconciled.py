from muster.skills import SkillContext, skill


@skill("depot.act")
def act(name: str) -> str:
    """Does something."""
    return name


@skill("depot.undo")
def undo(context: SkillContext) -> str:
    """Undoes it."""
    return context.step
