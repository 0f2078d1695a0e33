import json
import time

from muster.database import Database
from muster.errors import PermanentError, TransientError
from muster.skills import SkillContext, skill


@skill("books.look")
def look(answer: str, context: SkillContext) -> list | bool | str | None:
    """Answers what it is told to."""
    assert context.run == "check/books"
    assert context.key.startswith("check/books/it@")
    if answer == "refuse":
        raise PermanentError("17 is not balanced")
    if answer == "later":
        raise TransientError("the bank does not answer")
    if answer == "hang":
        time.sleep(60)
    if answer == "break":
        raise ZeroDivisionError("oops")
    return json.loads(answer)


@skill("books.elsewhere", lane="async")
async def elsewhere() -> bool:
    """Asks a server of its own, which nobody listens at."""
    async with Database("host=127.0.0.1 port=1 connect_timeout=1", timeout=0.2).aconnection():
        return True
