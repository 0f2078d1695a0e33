"""How a skill is called: arguments validated, blocking ones off the event loop, the result JSON-ready."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from muster.errors import ErrorClass, MusterError, TransientError
from muster.events.canonical import canonical
from muster.failures import trace_below
from muster.recovery.attempts import give_up
from muster.redaction import redact
from muster.skills.registry import Skill, SkillContext, staying_alive
from muster.skills.results import finished

T = TypeVar("T")
log = logging.getLogger(__name__)

THREAD = "muster-skill"
"""The name of each thread that a blocking skill is at work in."""


async def call_skill(skill: Skill, values: Mapping[str, Any], context: SkillContext) -> Any:
    """The skill's result as JSON-ready data.

    Raises:
        PermanentError: the arguments do not fit, and nothing was called; or it wanted to end the process.
        Unwritable: it has finished, and its result has no form in JSON.
        TransientError: it took longer than its `timeout`.
    """
    with staying_alive(f"The skill {skill.name}"):
        return await _called(skill, values, context)


async def _called(skill: Skill, values: Mapping[str, Any], context: SkillContext) -> Any:
    arguments = skill.arguments(values)
    if skill.wants_context:
        arguments["context"] = context
    limit = asyncio.timeout(skill.timeout)
    try:
        async with limit:
            if skill.is_async:
                result = await skill.function(**arguments)
            else:
                result = await in_thread(partial(skill.function, **arguments))
    except TimeoutError as error:
        # The skill raised a timeout of its own: an error like any other.
        if not limit.expired():
            raise
        raise TransientError(
            f"The skill {skill.name} took longer than {skill.timeout:g} seconds.", error_class=ErrorClass.TIMEOUT
        ) from error
    except MusterError:
        raise
    except Exception as error:
        # Only the skill's own frames: those of Muster and Airflow help nobody to mend it.
        log.error("The skill %s failed.\n%s", skill.name, redact(trace_below(error, __file__)))
        raise
    with finished(f"The skill {skill.name}", result):
        data = skill.dump(result)
        # The result is thrown away. Without this, NaN would be refused as the event is appended: as an error of the
        # attempt, after which a fallback would do the work again.
        canonical(data)
        return data


async def in_thread(function: Callable[[], T]) -> T:
    """The result of a blocking function, run in a daemon thread: one that hangs cannot hold up the process's exit.

    If the caller is cancelled, the thread goes on: its attempt is revoked, and the next one waits for the thread to
    end.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    # A new thread begins with an empty context, by which nobody could tell whose work it does.
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        # The caller has given up, so nobody wants the result.
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        # Also `SystemExit`, which would end only this thread, and the caller would wait for ever.
        except BaseException as caught:
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=run, name=THREAD, daemon=True)
    thread.start()
    try:
        return await answer
    except asyncio.CancelledError:
        # A thread cannot be stopped, and may still write. So its attempt is revoked, and the next attempt begins only
        # when the thread has ended.
        give_up(thread)
        raise
