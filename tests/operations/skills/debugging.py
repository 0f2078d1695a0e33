from muster.errors import PermanentError
from muster.skills import skill

CALLS = []


@skill("desk.read")
def read(name: str) -> str:
    """Reads."""
    CALLS.append(name)
    return name.upper()


@skill("desk.refuse")
def refuse() -> str:
    """Refuses."""
    raise PermanentError("never")


@skill("desk.none")
def none() -> str:
    """Answers in an agent's place."""
    return "4400"
