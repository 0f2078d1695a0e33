"""Promises of personal data: sealed before it is written, readable while the key lives, forgotten with it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.personal import Vault
from muster.events.sealing import FORGOTTEN, SEALED, WITHHELD
from muster.execution.personal import conceal
from muster.notifications import Notice
from muster.operations.forgetting import find_subject, forget
from muster.operations.reconciling.findings import Scope
from muster.operations.reconciling.notices import find_notices
from muster.runs.opening import InputsDoNotFit, Opening, open_run
from muster.triggers.arrivals import Arrival, Watch, claim, look, started, waiting
from support.children import Family, step
from support.runs import MASTER, Site
from support.sources import source_of

AUTOMATION = """
automation: tested
inputs: {customer: {type: string}, email: {type: string, format: email, default: jane@example.com}, size: {default: 1}}
personal:
  subject: "{{ inputs.customer }}"
  impersonal: [read, count]
  fields: [steps.read.output.people.name]
steps:
  - {id: read, skill: people.read, with: {number: 7}}
  - {id: greet, skill: people.greet, with: {who: "{{ steps.read.people[0].name }}", at: "{{ inputs.email }}"}}
  - {id: count, after: [read], skill: people.count, with: {size: "{{ inputs.size }}"}}
  - {id: fail, after: [greet], skill: people.fail, with: {text: "{{ steps.greet }}"}, retry: {times: 1, delay: 0s}}
"""
SKILLS = source_of(__file__, "personal")
pytestmark = pytest.mark.skills(people=SKILLS)
PERSONAL = ("Jane Roe", "John Roe", "jane@example.com", "acme-jane")


def everything_stored(database: Database) -> str:
    with database.connection() as connection:
        found = [
            row[0]
            for table in ("events", "runs", "steps", "subjects", "outbox")
            for row in connection.execute(f"SELECT row_to_json(t)::text FROM {table} AS t").fetchall()
        ]
        found += [row[0] for row in connection.execute("SELECT convert_from(content, 'UTF8') FROM objects").fetchall()]
    return "\n".join(found)


def whole_run(site: Site, **inputs: Any) -> tuple[str, list[Any]]:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane", **inputs)
    return run, [site.step(run, step) for step in ("read", "greet", "count", "fail")]


def vault() -> Vault:
    return Vault(lambda: MASTER)


def test_steps_see_personal_data_and_nothing_stored_holds_it(site: Site, database: Database) -> None:
    run, _ = whole_run(site)
    site.close(run)
    state = site.state(run)
    assert state.inputs["email"] == "jane@example.com"
    assert state.step("greet").output == "Hello Jane Roe at jane@example.com"
    assert "Hello Jane" in state.step("fail").whole.error["message"]
    stored = everything_stored(database)
    assert not [line for line in stored.splitlines() if any(text in line for text in PERSONAL)]
    assert '"role": "buyer"' in stored or '"role":"buyer"' in stored, "what is not marked stays readable"
    assert EventLog(database).verify(run) is None


def test_everything_is_sealed_but_structure_and_what_is_said_to_be_impersonal(site: Site, database: Database) -> None:
    run, _ = whole_run(site)
    stored = {event.data.get("step"): event.data for event in EventLog(database).read(run)}
    assert SEALED in stored["greet"]["output"]
    assert stored["count"]["output"] == 2
    read = next(e.data for e in EventLog(database).read(run) if e.type == "step.succeeded" and e.data["step"] == "read")
    assert read["output"]["number"] == 7
    assert [SEALED in person["name"] for person in read["output"]["people"]] == [True, True]
    opened = next(EventLog(database).read(run)).data
    assert all(SEALED in value for value in opened["inputs"].values()), "inputs are, named or not"
    error = stored["fail"]["error"]
    assert error["class"] == "ValueError"
    assert SEALED in error["message"]


def test_a_field_that_nobody_has_thought_of_is_sealed(site: Site, database: Database) -> None:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane")
    site.services.log.append(run, [NewEvent(type="step.invented", data={"step": "count", "said": "Jane Roe"})])
    assert "Jane Roe" not in everything_stored(database)
    assert [event.data["said"] for event in site.services.log.read(run, types=["step.invented"])] == ["Jane Roe"]


def test_what_an_earlier_version_left_in_clear_is_still_read(site: Site, database: Database) -> None:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane")
    plain = {"step": "count", "index": None, "epoch": 0, "output": 2, "output_type": None, "produced_by": "rules"}
    EventLog(database).append(run, [NewEvent(type=EventType.STEP_SUCCEEDED, data=plain, key="count/ended@0")])
    assert site.state(run).step("count").output == 2
    assert site.step(run, "count").output == 2


def test_a_rejection_counts_also_when_whom_it_is_about_was_forgotten(site: Site, database: Database) -> None:
    definition = site.definition(
        "automation: tested\ninputs: {who: {}}\npersonal: {subject: '{{ inputs.who }}'}\nsteps:\n"
        "  - {id: ask, human: {ask: 'Pay {{ inputs.who }}?', assignees: [lead]}}\n"
        "  - {id: way, after: [], branch: [{when: '{{ false }}', to: pay}, {to: keep}]}\n"
        "  - {id: pay, after: [ask, way], skill: people.count, with: {size: 1}}\n"
        "  - {id: keep, after: [way], skill: people.count, with: {size: 1}}\n"
    )
    run = site.open(definition, who="acme-jane")
    site.approve(run, "ask", by="lead", approved=False)
    site.step(run, "way")
    forget(database, vault(), "acme-jane", by="officer")
    assert site.step(run, "pay").reason == "rejected"
    assert site.step(run, "keep").status == "succeeded"


def test_what_a_model_is_asked_about_somebody_is_sealed(site: Site, database: Database) -> None:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane")
    data = {"step": "greet", "index": None, "prompt": [{"kind": "user-prompt", "text": "Who is Jane Roe?"}]}
    site.services.log.append(run, [NewEvent(type=EventType.MODEL_CALLED, data=data)])
    *_, asked = site.services.log.read(run)
    assert asked.data["prompt"][0]["text"] == "Who is Jane Roe?"
    assert "Jane Roe" not in everything_stored(database)


def test_airflow_is_told_nothing_personal(site: Site) -> None:
    _, outcomes = whole_run(site)
    concealed = [conceal(outcome, "skill") for outcome in outcomes]
    told = json.dumps([[outcome.output, outcome.reason] for outcome in concealed])
    assert not [text for text in PERSONAL if text in told]
    assert [outcome.status for outcome in concealed] == ["succeeded"] * 3 + ["failed"]


def test_a_task_that_is_begun_again_after_somebody_was_forgotten_tells_how_it_had_ended(
    site: Site, database: Database
) -> None:
    run, _ = whole_run(site)
    forget(database, vault(), "acme-jane", by="officer")
    again = conceal(site.step(run, "fail"), "skill")
    assert (again.status, again.reason) == ("failed", WITHHELD)


def test_the_forgotten_cannot_be_read_and_the_log_still_verifies(site: Site, database: Database) -> None:
    run, _ = whole_run(site)
    site.close(run)
    other = site.open(site.definition(AUTOMATION), customer="somebody-else")
    before = [event.hash for event in EventLog(database).read(run)]
    done = forget(database, vault(), "acme-jane", by="officer")
    assert done.runs == 1
    state = site.state(run)
    assert state.inputs["email"] == {FORGOTTEN: done.subject}
    assert state.step("greet").output == {FORGOTTEN: done.subject}
    assert state.step("count").output == 2
    assert site.state(other).inputs["email"] == "jane@example.com", "nobody else is forgotten"
    assert [event.hash for event in EventLog(database).read(run)] == before
    assert list(EventLog(database).verify_all()) == []
    (said,) = EventLog(database).read(f"subjects/{done.subject}")
    assert (said.type, said.actor) == ("subject.forgotten", "officer")


def test_a_run_that_goes_on_after_its_subject_was_forgotten_writes_nothing_about_them(
    site: Site, database: Database
) -> None:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane")
    done = forget(database, vault(), "acme-jane", by="officer")
    site.step(run, "read")
    assert site.state(run).step("read").output["people"][0] == {"name": {FORGOTTEN: done.subject}, "role": "buyer"}
    with database.connection() as connection:
        assert connection.execute("SELECT count(*) FROM subjects WHERE wrapped_key IS NOT NULL").fetchone() == (0,)


def test_a_retry_of_a_run_about_a_forgotten_person_uses_up_one_of_its_budget(site: Site, database: Database) -> None:
    site.skills(
        "flaky",
        "from muster.errors import TransientError\nfrom muster.skills import skill\n\nfailed = []\n\n\n"
        '@skill(\'flaky.work\')\ndef work() -> int:\n    """Fail once."""\n    failed.append(1)\n'
        "    if len(failed) == 1:\n        raise TransientError('not yet')\n    return 1\n",
    )
    run = site.open(
        site.definition(
            "automation: tested\npersonal: {subject: '{{ inputs.who }}'}\ninputs: {who: {type: string}}\n"
            "budget: {retries: 5}\nsteps:\n  - {id: a, skill: flaky.work, retry: {times: 3, delay: 0s}}\n"
        ),
        who="Ann",
    )
    forget(database, vault(), "Ann", by="officer")
    assert site.step(run, "a").status == "succeeded"
    assert [event.type for event in site.services.log.read(run)].count("step.retried") == 1


def test_who_comes_back_after_being_forgotten_has_a_new_key(site: Site, database: Database) -> None:
    definition = site.definition(AUTOMATION)
    old = site.open(definition, customer="acme-jane")
    forget(database, vault(), "acme-jane", by="officer")
    new = site.open(definition, customer="acme-jane")
    assert site.state(new).inputs["customer"] == "acme-jane"
    assert FORGOTTEN in site.state(old).inputs["customer"]
    assert forget(database, vault(), "acme-jane", by="officer").runs == 1
    assert FORGOTTEN in site.state(new).inputs["customer"]


def test_forgetting_an_unknown_subject_changes_nothing(site: Site, database: Database) -> None:
    site.open(site.definition(AUTOMATION), customer="acme-jane")
    stored = everything_stored(database)
    with pytest.raises(MusterError, match="There is no personal data of 'acme-joan'"):
        forget(database, vault(), "acme-joan", by="officer")
    assert everything_stored(database) == stored


def test_forgetting_somebody_again_removes_what_has_come_since_and_nothing_else(
    site: Site, tmp_path: Path, database: Database
) -> None:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane")
    first = forget(database, vault(), "acme-jane", by="officer", artifacts=site.services.artifacts)
    assert (first.runs, first.folders, first.before) == (1, 0, None)
    stored = everything_stored(database)
    again = forget(database, vault(), "acme-jane", by="officer", artifacts=site.services.artifacts)
    assert (again.runs, again.notices, again.folders) == (1, 0, 0)
    assert again.before is not None
    assert everything_stored(database) == stored
    (site.services.workspace(run) / "letter.txt").write_text("Dear Jane Roe")
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO outbox (key, run, channel, target, subject, text, status, attempts)"
            " VALUES ('k', %s, 'email', 'jane@example.com', '', 'Dear Jane Roe', 'pending', 1)",
            [run],
        )
    third = forget(database, vault(), "acme-jane", by="officer", artifacts=site.services.artifacts)
    assert (third.notices, third.unsent, third.folders, third.before) == (1, 1, 1, again.before)
    assert "Jane Roe" not in everything_stored(database)
    assert not list(tmp_path.rglob("letter.txt"))


def test_a_run_that_names_nobody_still_writes_nothing_in_the_clear(site: Site, database: Database) -> None:
    run = site.open(site.definition(AUTOMATION), customer="")
    assert site.state(run).inputs["email"] == "jane@example.com"
    assert "jane@example.com" not in everything_stored(database)


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("{{ inputs.who.id.name }}", "cannot be worked out"),
        ("{{ [inputs.customer, inputs.who.none.name] }}", "cannot be worked out"),
        ("{{ inputs.who }}", "something other than texts and numbers"),
        ("{{ [inputs.customer, [inputs.customer]] }}", "something other than texts and numbers"),
        ("{{ inputs.customer == 'acme-jane' }}", "something other than texts and numbers"),
    ],
)
def test_a_run_of_which_nobody_can_say_whom_it_is_about_is_sealed_and_fails(
    site: Site, database: Database, subject: str, told: str
) -> None:
    definition = site.definition(
        "automation: tested\ninputs: {customer: {type: string}, who: {type: object}}\n"
        f'personal: {{subject: "{subject}"}}\n'
        "steps: [{id: greet, skill: people.count, with: {size: 1}}]\n"
    )
    with pytest.raises(InputsDoNotFit, match=f"personal.subject: .*{told}") as caught:
        site.open(definition, customer="acme-jane", who={"id": "Jane Roe"})
    assert not [text for text in PERSONAL if text in f"{caught.value}{everything_stored(database)}"]


def test_a_run_is_about_those_of_several_that_there_are(site: Site, database: Database) -> None:
    source = AUTOMATION.replace('"{{ inputs.customer }}"', '"{{ [inputs.customer, inputs.size, inputs.other] }}"')
    definition = site.definition(source.replace("size: {default: 1}", "size: {default: 1}, other: {default: null}"))
    site.open(definition, customer="acme-jane")
    assert forget(database, vault(), "1", by="officer").runs == 1


@pytest.mark.parametrize(
    ("given", "typed"), [(" acme-jane ", "acme-jane"), ("acme-jane", "acme-jane "), ("Zoe\u0308", "Zo\u00eb")]
)
def test_somebody_is_found_however_the_name_was_typed(site: Site, database: Database, given: str, typed: str) -> None:
    site.open(site.definition(AUTOMATION), customer=given)
    site.open(site.definition(AUTOMATION), customer=typed)
    assert forget(database, vault(), typed, by="officer").runs == 2


def test_somebody_whom_an_earlier_version_knew_as_typed_is_still_found(site: Site, database: Database) -> None:
    site.open(site.definition(AUTOMATION), customer="acme-jane")
    with database.connection() as connection:
        connection.execute("UPDATE subjects SET id = %s", [vault().name_id(" acme-jane")])
    assert find_subject(database, vault(), " acme-jane") == {vault().name_id(" acme-jane"): None}


def test_inputs_that_do_not_fit_are_refused_without_repeating_them(site: Site, database: Database) -> None:
    with pytest.raises(MusterError, match="email: does not fit") as caught:
        site.open(site.definition(AUTOMATION), customer="acme-jane", email="Jane Roe")
    assert "Jane Roe" not in str(caught.value)
    assert "Jane Roe" not in everything_stored(database)


def test_a_large_output_is_sealed_before_it_becomes_an_object(site: Site, database: Database) -> None:
    site.skills(
        "people", SKILLS.replace('"role": "buyer"', '"role": "buyer" * 20_000').replace("John Roe", "J" * 90_000)
    )
    run, _ = whole_run(site)
    assert site.state(run).step("read").output["people"][1]["name"] == "J" * 90_000
    assert "JJJJJ" not in everything_stored(database)


def test_a_notice_that_was_still_to_be_sent_is_not_and_that_is_written_down(site: Site, database: Database) -> None:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane")
    notice = Notice(channel="email", target="jane@example.com", text="Hello Jane Roe", key="k", run=run)
    outbox = site.services.notices.outbox
    attempt = site.do(outbox.claim(notice, timedelta(0)))
    done = forget(database, vault(), "acme-jane", by="officer")
    assert (done.notices, done.unsent) == (1, 1)
    assert not [text for text in PERSONAL if text in everything_stored(database)]
    (entry,) = outbox.entries()
    assert (entry.status, entry.note) == ("kept", "not sent, because whom it is about was forgotten")
    site.do(outbox.fail(notice, attempt, "TransientError: jane@example.com is busy"))
    assert outbox.undelivered(datetime.now(UTC) + timedelta(days=1)) == []
    assert site.do(site.services.notices.send(notice)).repeated, "and nobody sends it by asking again"
    assert not [text for text in PERSONAL if text in everything_stored(database)]


def test_a_run_that_a_run_asks_for_is_about_the_same_person_and_so_are_those_below(
    tmp_path: Path, database: Database
) -> None:
    sources = {
        name: f"{personal}inputs: {{name: {{default: jane@example.com}}}}\nsteps:\n{steps}"
        for name, personal, steps in [
            ("above", "personal: {subject: '{{ inputs.name }}'}\n", "  - {id: run, run: middle}\n"),
            ("middle", "", "  - {id: run, run: below}\n"),
            ("below", "personal: {subject: 'of {{ inputs.name }}'}\n", step("pick")),
        ]
    }
    family = Family(tmp_path, database, sources)
    runs = [family.open("above")]
    for _ in range(2):
        runs.append(family.begin(family.ask(runs[-1], "run")))
    family.site.step(runs[-1], "pick")
    assert [family.site.state(run).inputs["name"] for run in runs] == ["jane@example.com"] * 3
    assert "jane@example.com" not in everything_stored(database)
    assert forget(database, vault(), "jane@example.com", by="officer").runs == 3
    assert [FORGOTTEN in family.site.state(run).inputs["name"] for run in runs] == [True] * 3
    assert forget(database, vault(), "of jane@example.com", by="officer").runs == 1


def test_forgetting_takes_the_text_of_notices_along(site: Site, database: Database) -> None:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane")
    notice = Notice(channel="email", target="jane@example.com", text="Hello Jane Roe", key="k", run=run)
    site.do(site.services.notices.send(notice))
    assert forget(database, vault(), "acme-jane", by="officer").notices == 1
    assert not [text for text in PERSONAL if text in everything_stored(database)]


def test_the_findings_of_an_item_that_is_set_aside_are_sealed(site: Site, database: Database) -> None:
    site.skills(
        "people",
        "from muster.errors import SetAside\nfrom muster.findings import Finding\nfrom muster.skills import skill\n\n"
        "@skill('people.check')\ndef check(name: str) -> str:\n    '''Refuse.'''\n"
        "    raise SetAside(f'{name} is unknown', [Finding(rule='X', message=f'who is {name}?')])\n",
    )
    run = site.open(
        site.definition(
            "automation: tested\ninputs: {names: {default: []}, who: {default: x}}\n"
            "personal: {subject: '{{ inputs.who }}', fields: [inputs.names]}\n"
            "steps:\n  - {id: check, each: '{{ inputs.names }}', skill: people.check, with: {name: '{{ item }}'}}\n"
        ),
        names=["Jane Roe"],
    )
    assert site.expand(run, "check") == 1
    site.step(run, "check", 0)
    (finding,) = site.state(run).step("check").items[0].findings
    assert finding["message"] == "who is Jane Roe?"
    assert "Jane Roe" not in everything_stored(database)


def test_a_file_whose_run_was_about_somebody_is_known_without_its_name(
    site: Site, tmp_path: Path, database: Database
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    watch = Watch("tested", str(inbox), "files", ("files",))

    def arrived(name: str) -> list[Arrival]:
        (inbox / name).write_text("a letter")
        os.utime(inbox / name, (1, 1))
        return look(inbox, ["*"])

    (batch,) = claim(database, watch, arrived("Jane Roe.txt"), site.services.log.digest)
    started(database, "tested", batch)
    run = f"files__{batch.name}"
    definition = site.definition(AUTOMATION)
    opening = Opening(
        run=f"tested/{run}",
        dag_id="tested",
        dag_run_id=run,
        definition=definition,
        bundle_version=None,
        conf={"customer": "acme-jane"},
    )
    site.do(open_run(site.services, opening))
    forget(database, vault(), "acme-jane", by="officer")
    with database.connection() as connection:
        (uri,) = connection.execute("SELECT uri FROM arrivals").fetchone() or ("",)
    assert "Jane" not in uri
    digest = site.services.log.digest
    assert not waiting(database, "tested", look(inbox, ["*"]), digest)
    assert claim(database, watch, look(inbox, ["*"]), digest) == []
    (other,) = claim(database, watch, arrived("John Roe.txt"), digest)
    assert [Path(each).name for each in other.uris] == ["John%20Roe.txt"], "one of the same size and time is another"


def test_what_the_reconciler_finds_about_a_notice_names_nobody(site: Site, database: Database) -> None:
    run = site.open(site.definition(AUTOMATION), customer="acme-jane")
    notice = Notice(channel="email", target="jane@example.com", text="Hello Jane Roe", key="k", run=run)
    outbox = site.services.notices.outbox
    attempt = site.do(outbox.claim(notice, timedelta(0)))
    site.do(outbox.fail(notice, attempt, "PermanentError: jane@example.com is unknown"))
    scope = Scope(database=database, airflow=None, now=datetime.now(UTC))  # type: ignore[arg-type]
    (found,) = find_notices(scope)
    assert found.message == "not delivered: PermanentError"
