"""What an event of each type says: written, read back, and read where an earlier release said less."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from muster.errors import TransientError
from muster.events.model import EventType, NewEvent
from muster.events.payloads.base import LONGEST_MESSAGE, PAYLOADS, Payload, RecordedError, payload_of
from muster.events.payloads.runs import RunRestarted, RunStuck
from muster.events.payloads.work import StepFailed, StepRetried, StepStarted

PLACE = {"step": "pay", "index": 1, "epoch": 2}
FAILED = RecordedError(class_="ValueError", message="no", remedy="Do it otherwise.")


def full(payload: type[Payload]) -> dict[str, Any]:
    """A value for each field."""
    fields = dataclasses.fields(payload)  # type: ignore[arg-type]
    return {each.name: FAILED if each.name == "error" else f"the {each.name}" for each in fields}


def test_there_is_one_for_each_type() -> None:
    assert set(PAYLOADS) == set(EventType)
    assert {type: payload.type for type, payload in PAYLOADS.items()} == {type: type for type in PAYLOADS}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=list(PAYLOADS))
def test_what_is_written_is_read_back(payload: type[Payload]) -> None:
    said = payload(**full(payload))
    written = said.event(key="key", actor="ann")
    assert (written.type, written.key, written.actor) == (payload.type, "key", "ann")
    assert len(written.data) == len(full(payload))
    assert payload.of(written) == payload_of(written) == said


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=list(PAYLOADS))
def test_what_an_event_does_not_say_is_no_error(payload: type[Payload]) -> None:
    said = payload.of(NewEvent(type=payload.type, data={"what nobody knows": 1}))
    for each in dataclasses.fields(said):  # type: ignore[arg-type]
        unsaid = each.metadata.get("missing") if each.default is dataclasses.MISSING else each.default
        assert getattr(said, each.name) == unsaid


def test_an_event_of_a_type_that_nobody_knows_says_nothing() -> None:
    assert payload_of(NewEvent(type="moon.landed", data={"step": "pay"})) is None


def test_an_event_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"step\.started is no step\.failed"):
        StepFailed.of(NewEvent(type=EventType.STEP_STARTED, data={"step": "pay"}))


def test_only_what_is_said_is_written() -> None:
    assert RunStuck(**PLACE, error=FAILED).data() == {
        **PLACE,
        "error": {"class": "ValueError", "message": "no", "remedy": "Do it otherwise."},
    }
    assert RunRestarted(from_="pay", again={"pay": None}).data() == {"from": "pay", "again": {"pay": None}}
    started = StepStarted(step="pay", index=None, epoch=0, kind="skill", lane="async", attempt=1, begins="b")
    assert started.data()["index"] is None


def test_an_error_is_kept_in_part_and_without_secrets() -> None:
    recorded = RecordedError.of(TransientError("password=hunter2 " + "x" * LONGEST_MESSAGE, remedy="Wait."))
    assert (recorded.class_, recorded.remedy) == ("TransientError", "Wait.")
    assert len(recorded.message) == LONGEST_MESSAGE
    assert "hunter2" not in recorded.message
    assert RecordedError.of(KeyError()).message == "KeyError"


def test_the_class_of_a_retry_is_no_class_of_its_error() -> None:
    data = StepRetried(**PLACE, attempt=2, error=FAILED, class_="timeout", delay=1.5).data()
    assert (data["class"], data["error"]["class"]) == ("timeout", "ValueError")
    assert "mark" not in data
