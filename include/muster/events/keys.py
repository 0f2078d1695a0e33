"""The keys of a run's events: an event with a key is written once, however often and by however many it is appended.

A key is text in the log for good: never change the form of one. Of a work item they begin with its own key, of an
execution they end with its epoch.
"""

from __future__ import annotations

from typing import Literal

OPENED = "opened"
"""That a run is opened."""


def work_key(step: str, index: int | None) -> str:
    """The key of one work item: the same in every attempt."""
    return step if index is None else f"{step}[{index}]"


def begun(started: str) -> str:
    """That Airflow began an execution, at an instant."""
    return f"begun/{started}"


def begun_to_undo(by: str) -> str:
    """That a run began to be undone with a work item of the run that asked for it."""
    return f"begun/undo/{by}"


def undo(by: str) -> str:
    """Why a run is undone with that work item."""
    return f"undo/{by}"


def closed(epoch: int) -> str:
    """How an execution ended."""
    return f"closed@{epoch}"


def stuck(epoch: int) -> str:
    """That undoing has stopped in an execution."""
    return f"stuck@{epoch}"


def unwinding(epoch: int) -> str:
    """That undoing begins in an execution: nothing of it begins after that."""
    return f"unwinding@{epoch}"


def cancel(again: int, by: str | None = None) -> str:
    """That a run is to go no further, after it was done again so often; `by` is the run that wants it, if one does."""
    # With the number of orders to do work again: a cancellation from before an order must not stand in the place of one
    # after it.
    return ("cancel" if by is None else f"cancel/{by}") + (f"@{again}" if again else "")


def expanded(step: str, epoch: int) -> str:
    """How a list was laid out."""
    return f"{step}/expanded@{epoch}"


def extended(work: str, epoch: int) -> str:
    """That an item, as it ended, has added others to its list."""
    return f"{work}/extended@{epoch}"


def completed(step: str, epoch: int) -> str:
    """That all items of a list have ended."""
    return f"{step}/completed@{epoch}"


def list_undone(step: str, epoch: int) -> str:
    """The same where the key of `completed` is taken: the list was completed before its items were undone."""
    return f"{step}/undone@{epoch}"


def started(work: str, epoch: int | None) -> str:
    """That work began: for the first time ever, without an epoch, or in an execution that does it again."""
    # Without an epoch, the first start ever has one key. Of two processes that write it at once the second is given the
    # event of the first, and so knows that somebody may be at the work already.
    return f"{work}/started" if epoch is None else f"{work}/started@{epoch}"


def assigned(work: str, number: int, epoch: int) -> str:
    """That a member of a team took a task, for the time with this number."""
    return f"{work}/assigned/{number}@{epoch}"


def ended(work: str, epoch: int) -> str:
    """How work ended."""
    # One key for every way to end. Whoever undoes the work, or closes its run, takes it as well (`step.stopped`): an
    # ending that a stalled process writes after that is none.
    return f"{work}/ended@{epoch}"


def left(work: str, version: int) -> str:
    """That nobody waits for an answer any more, since the run stood at a version."""
    # Not the key of its ending, which a question keeps: whoever answers late is told why the answer does not count.
    return f"{work}/left@{version}"


def fell_back(work: str, execution: int | None, epoch: int) -> str:
    """That the fallback has taken over from an execution of the work; from one of an earlier epoch, without it."""
    return f"{work}/fell_back@{epoch}" if execution is None else f"{work}/fell_back/{execution}@{epoch}"


def undone(work: str, epoch: int) -> str:
    """That what was done in an epoch is undone, whoever undoes it."""
    return f"{work}/undone@{epoch}"


def undoing_stopped(work: str, epoch: int) -> str:
    """That undoing it ended without a word."""
    return f"{work}/stopped@{epoch}"


def retried(number: int | str, epoch: int) -> str:
    """The retry with this number of those that a run may have; with this mark, where it may have any number."""
    return f"retry/{number}@{epoch}"


def child(work: str, epoch: int) -> str:
    """That a run is asked for."""
    return f"{work}/child@{epoch}"


def approval(work: str, what: Literal["requested", "answered"], epoch: int) -> str:
    """A question, or the answer to it."""
    return f"{work}/{what}@{epoch}"


def granted(work: str, by: str, epoch: int) -> str:
    """One of several approvals, by a person."""
    return f"{work}/granted/{by}@{epoch}"


def refused(work: str, by: str, at: str, epoch: int) -> str:
    """An answer that does not count, by a person at an instant."""
    return f"{work}/refused/{by}/{at}@{epoch}"


OF_A_QUESTION = "/(told|reminded/[0-9]+|escalated/[0-9]+)@[0-9]+/[0-9]+$"
"""A regular expression for the keys of notices that `told` has made, with the number of the place."""
WITHOUT = "without"
"""Ends the key of a notice in the place of those of a question that were withdrawn: it says nothing of anybody."""


def told(work: str, which: str, epoch: int) -> str:
    """That people were told of a question, reminded or others asked besides; `which_told` reads it."""
    return f"{work}/{which}@{epoch}"


def which_told(key: str, work: str, epoch: int) -> str:
    """The `which` of a key that `told` has made."""
    return key.removeprefix(f"{work}/").removesuffix(f"@{epoch}")
