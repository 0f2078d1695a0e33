"""The reconciler looks after every run it can, and what people have to know they hear, whoever dies meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from muster.errors import TransientError
from muster.events.model import EventType, NewEvent
from muster.execution.references import WorkRef
from muster.operations.reconciling import Scope, has_recovered
from muster.saga import unwinding
from support.reconciled import SKILLS, UNDONE, FakeAirflow, found, performed_whole, told
from support.runs import Site

pytestmark = pytest.mark.skills(depot=SKILLS)


def tamper(dsn: str, statement: str, *parameters: object) -> None:
    """As the owner of the database could."""
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        assert connection.execute(statement, parameters).rowcount
        connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM events WHERE stream = %s",
        "UPDATE events SET data = '[1]' WHERE stream = %s AND type = 'step.succeeded'",
        "UPDATE events SET data = 'null' WHERE stream = %s AND type = 'step.succeeded'",
        "UPDATE events SET data = '{}' WHERE stream = %s AND type = 'step.succeeded'",
        """UPDATE events SET data = jsonb_set(data::jsonb, '{output}', '"other"') WHERE stream = %s"""
        " AND type = 'step.succeeded'",
    ],
)
@pytest.mark.parametrize("status", ["open", "stuck"])
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_run_whose_log_was_harmed_is_not_gone_on_with_and_keeps_no_other_waiting(
    site: Site, dsn: str, harm: str, status: str, goes_on: bool
) -> None:
    definition = site.definition(UNDONE)
    run, other = site.open(definition), site.open(definition)
    site.step(run, "one")
    if status == "stuck":
        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE runs SET status = 'stuck' WHERE id = %s", [run])
    tamper(dsn, harm, run)

    class One(FakeAirflow):
        def running(self, dag_id: str, run_ids: Sequence[str]) -> Sequence[str]:
            return [each for each in run_ids if goes_on and each == run.partition("/")[2]]

    airflow = One("failed", tasks={"close": "deferred"})
    seen = {each.subject: each for each in found(site, airflow)}
    assert seen[other].mended
    assert airflow.restarted == [other.partition("/")[2]]
    assert airflow.cleared == []
    if status == "open" or goes_on:
        assert not seen[run].mended
        assert "cannot be reconciled" in seen[run].message


def test_a_run_that_goes_on_and_whose_definition_is_gone_keeps_no_other_waiting(site: Site, dsn: str) -> None:
    run = site.open(site.definition(UNDONE))
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM definitions")
    (seen,) = found(site, FakeAirflow("running", tasks={"one": "deferred"}))
    assert (seen.subject, seen.mended, "cannot be reconciled" in seen.message) == (run, False, True)


def test_what_was_given_up_is_told_though_airflow_answers_no_more(site: Site) -> None:
    site.open(site.definition(UNDONE))
    site.run(site.definition(UNDONE))

    class Falling(FakeAirflow):
        asked = 0

        def running(self, dag_id: str, run_ids: Sequence[str]) -> Sequence[str]:
            self.asked += 1
            if self.asked == 2:
                raise TransientError("no answer")
            return ()

    with pytest.raises(TransientError):
        found(site, Falling(None))
    assert [target for target, _ in told(site)] == ["#stuck"]


def test_what_was_given_up_without_a_word_is_told_later_and_once(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    (closed,) = found(site, FakeAirflow(None), send=None)
    assert (closed.mended, told(site)) == (True, [])
    (later,) = found(site, FakeAirflow(None))
    assert (later.key, later.person) == (closed.key, True)
    assert "does not know it any more" in later.message
    assert [target for target, _ in told(site)] == ["#stuck"]
    assert found(site, FakeAirflow(None)) == []


def test_that_a_run_is_stuck_is_told_when_whoever_was_to_tell_it_died(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    error = {"class": "PermanentError", "message": "no", "remedy": None}
    stuck = {"step": "one", "index": None, "error": error, "epoch": 0}
    site.services.log.append(run, [NewEvent(type=EventType.RUN_STUCK, data=stuck, key="stuck@0")])
    site.close(run)
    airflow = FakeAirflow("failed")
    assert [each.told for each in found(site, airflow, later=timedelta(minutes=1))] == [True], "it may be about to"
    assert [each.told for each in found(site, airflow)] == [False]
    assert [each.told for each in found(site, airflow)] == [False], "its own notice went out under another key"
    assert [target for target, _ in told(site)] == ["#stuck"]


def test_that_a_run_is_stuck_is_not_told_again(site: Site) -> None:
    site.skills("depot", SKILLS.replace("return context.step", "raise ValueError(context.step)"))
    run = site.open(site.definition(UNDONE.replace("skill: depot.undo", "skill: depot.undo, retry: {times: 0}")))
    site.step(run, "one")
    data = {"reason": "enough"}
    cancel = NewEvent(type=EventType.RUN_CANCEL_REQUESTED, data=data, actor="ann", key="cancel")
    site.services.log.append(run, [cancel])
    site.do(unwinding.begin(site.services, WorkRef(run=run, step="begin"), {}))
    assert site.do(unwinding.compensate(site.services, WorkRef(run=run, step="one"))).status == "failed"
    site.close(run)
    assert [(each.kind, each.told) for each in found(site, FakeAirflow("failed"))] == [("stuck", True)]
    assert told(site) == []


def test_a_run_that_was_begun_again_and_has_ended_has_recovered(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    began = datetime.now(UTC) - timedelta(hours=1)
    scope = Scope(database=site.services.database, airflow=FakeAirflow(), now=datetime.now(UTC) + timedelta(hours=1))
    found(site, FakeAirflow())
    assert not has_recovered(scope, began), "it goes on"
    performed_whole(site, run)
    assert has_recovered(scope, began)
    assert not has_recovered(scope, datetime.now(UTC) + timedelta(minutes=1))


@pytest.mark.parametrize("about", ["nobody", "somebody"])
def test_where_no_address_of_the_incidents_is_one_the_common_channel_is_told(site: Site, about: str) -> None:
    personal = "inputs: {who: {default: Max Meier}}\npersonal: {subject: '{{ inputs.who }}'}\n" * (about == "somebody")
    source = UNDONE.replace('{slack: "#stuck"}', '{email: "{{ settings.office }}"}').replace(
        "automation: a\n", f"automation: a\nsettings: {{office: office at example.com}}\n{personal}"
    )
    run = site.open(site.definition(source))
    site.step(run, "one")
    assert found(site, FakeAirflow(None))[0].mended
    assert site.state(run).status == "failed"
    (entry,) = site.services.notices.outbox.entries()
    assert (entry.channel, entry.target, entry.run) == ("slack", "#incidents", run)
    if about == "somebody":
        assert (entry.subject, entry.text.partition(":")[0]) == ("", run)
    else:
        assert f"Muster found: run {run}" in entry.subject
    assert (found(site, FakeAirflow(None)), len(site.services.notices.outbox.entries())) == ([], 1), "told once"
