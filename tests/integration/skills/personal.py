import logging

import structlog

from muster.errors import PermanentError, SetAside
from muster.findings import Finding
from muster.skills import SkillContext, skill

log = logging.getLogger(__name__)


@skill("people.read")
def read(text: str, context: SkillContext) -> dict:
    """Keep a letter, tell everybody, confirm it outside."""
    (context.workspace / "letter.txt").write_text(text)
    print(f"printed {text}")
    log.warning("logged %s", text)
    structlog.get_logger().warning("logged", who=text)
    with context.effect("confirm", request={"to": text}) as effect:
        if not effect.happened:
            effect.result = {"sent to": text}
    return {"text": text, "parts": [f"{text} one", f"{text} two"]}


@skill("people.check", lane="async")
async def check(part: str) -> str:
    """Set aside what names a person."""
    log.warning("looking at %s", part)
    raise SetAside(f"{part} is unknown", [Finding(rule="X", message=f"who is {part}?")])


@skill("people.fail")
def fail(text: str) -> str:
    """Fail for good."""
    raise ValueError(f"cannot take {text}")


@skill("people.greet", lane="async")
async def greet(text: str) -> str:
    """Greet."""
    return f"Hello {text}"


@skill("people.undo", lane="async")
async def undo(text: str) -> str:
    """A compensation that fails."""
    raise PermanentError(f"cannot take back what {text} got", remedy=f"call {text}")
