import logging
from concurrent.futures import ThreadPoolExecutor

from muster.errors import PermanentError, SetAside, TransientError
from muster.findings import Finding
from muster.skills import SkillContext, skill


@skill("people.read", lane="async")
async def read(text: str, context: SkillContext) -> dict:
    """Read a letter, keep it, and confirm it outside."""
    (context.workspace / "letter.txt").write_text(text)
    async with context.effect("confirm", request={"to": text}, kind="letter") as effect:
        if not effect.happened:
            effect.result = {"sent to": text}
    return {"text": text, "parts": [f"{text} one", f"{text} two", "none"]}


@skill("people.check", lane="async")
async def check(part: str) -> str:
    """Set aside what names a person."""
    if part.endswith("one"):
        raise SetAside(f"{part} is unknown", [Finding(rule="X", message=f"who is {part}?", path=part)])
    if part.endswith("two"):
        raise ValueError(f"cannot take {part}")
    return part


@skill("people.charge", lane="async")
async def charge(text: str, context: SkillContext) -> str:
    """An effect that is refused."""
    async with context.effect("charge", request={"who": text}):
        raise PermanentError(f"{text} has no account", remedy=f"ask {text}")


@skill("people.call", lane="async")
async def call(text: str, context: SkillContext) -> str:
    """A host that is down."""
    async with context.guard("host:registry"):
        raise TransientError(f"no answer about {text}")


@skill("people.mail")
def mail(text: str, context: SkillContext) -> str:
    """Threads of its own, which inherit no context: what they do, what they say, and what fails."""

    def send(number: int) -> None:
        for again in (False, True):
            with context.effect(f"mail {number}", request={"to": text}) as effect:
                if not effect.happened:
                    effect.result = {"sent to": text}
            if (effect.happened, effect.result) != (again, {"sent to": text}):
                raise PermanentError(f"read {effect.result}")
        logging.getLogger("a.library").warning("sent to %s", text)
        print(f"sent to {text}")
        try:
            with context.guard("host:mail"):
                raise TransientError(f"no answer about {text}")
        except TransientError:
            pass
        with context.effect(f"reminder {number}", request={"to": text}):
            raise ValueError(f"{text} has no mailbox")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, range(2)))
    return text


@skill("people.greet", lane="async")
async def greet(text: str) -> str:
    """Greet."""
    return f"Hello {text}"


@skill("people.undo", lane="async")
async def undo(text: str) -> str:
    """A compensation that fails."""
    raise PermanentError(f"cannot take back what {text} got", remedy=f"call {text}")
