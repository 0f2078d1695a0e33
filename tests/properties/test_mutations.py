"""Each bug that a property guards against is put back once, and the property notices it."""

from __future__ import annotations

import pytest

from support.mutations import MUTATIONS
from support.recovery_machines import MACHINES, play
from support.recovery_processes import Processes


@pytest.mark.parametrize("bug", MUTATIONS)
def test_the_property_fails_when_the_bug_is_put_back(dsn: str, bug: str) -> None:
    with Processes(dsn, mutation=bug) as processes, pytest.raises(BaseException) as found:
        play(processes, MACHINES[MUTATIONS[bug].held_by], examples=400, shrink=False)
    assert is_broken_promise(found.value), found.value


def is_broken_promise(error: BaseException) -> bool:
    """True for a promise that did not hold, rather than a test that could not be run."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_broken_promise(each) for each in error.exceptions)
    return isinstance(error, AssertionError) and "does not answer" not in str(error)
