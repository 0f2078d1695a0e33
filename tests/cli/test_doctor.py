"""The doctor finds what is wrong, and says how to mend it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from muster.cli.importing import imported
from muster.database import Database
from muster.local.credentials import renew_logins
from muster.triggers.arrivals import Watch, claim, look, started
from support.command import Muster, read

AGENTS = """\
department: finance
tiers: [fast]
agents:
  - id: clerk
    role: A clerk.
"""


def checks(muster: Muster) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in read(muster("doctor", "--json"))}


def test_everything_that_is_not_good_has_a_remedy(muster: Muster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:sesame@127.0.0.1:9/none")
    found = checks(muster)
    assert found["Python"]["verdict"] == "good"
    assert found["database"]["verdict"] == "bad"
    assert not [name for name, check in found.items() if check["verdict"] != "good" and not check["remedy"]]
    assert "sesame" not in str(found)
    assert muster("doctor").exit_code == 1


def test_a_busy_port_is_found(muster: Muster, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("MUSTER_PORT", str(other.getsockname()[1]))
        assert checks(muster)["port"]["verdict"] == "bad"


def test_secrets_that_others_can_read_are_found(muster: Muster, project: Path) -> None:
    (project / ".muster").mkdir(mode=0o700)
    secret = project / ".muster" / "credentials.json"
    secret.write_text("{}")
    secret.chmod(0o644)
    found = checks(muster)["state folder"]
    assert found["verdict"] == "bad"
    assert str(secret) in found["remedy"]
    secret.chmod(0o600)
    assert checks(muster)["state folder"]["verdict"] == "good"


def test_an_agent_without_model_and_without_offline_skill_is_named(
    muster: Muster, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "include" / "agents").mkdir()
    (project / "include" / "agents" / "finance.yaml").write_text(AGENTS)
    found = checks(muster)["models"]
    assert found["verdict"] == "note"
    assert "clerk cannot" in found["found"]
    assert "AIRFLOW_CONN_FAST" in found["remedy"]
    monkeypatch.setenv("AIRFLOW_CONN_FAST", '{"conn_type": "pydanticai"}')
    assert checks(muster)["models"]["verdict"] == "good"


def test_an_agent_that_is_a_program_asks_no_model(muster: Muster, project: Path) -> None:
    (project / "include" / "agents").mkdir()
    program = "  - { id: counter, role: Counts., command: { program: [count] } }\n"
    (project / "include" / "agents" / "finance.yaml").write_text(f"{AGENTS.rstrip()}\n{program}")
    assert "counter" not in checks(muster)["models"]["found"]


def test_a_broken_automation_is_bad(muster: Muster, project: Path) -> None:
    (project / "include" / "automations" / "bad.yaml").write_text("nonsense")
    assert checks(muster)["automations"]["verdict"] == "bad"


ASKS = """automation: asks
steps:
  - {id: ask, human: {ask: "Pay?", assignees: [finance-lead, cfo], approvals: 2}}
  - {id: one, human: {ask: "Pay?", assignees: [finance-lead, nobody]}}
  - {id: given, human: {ask: "Pay?", assignees: "{{ ['nobody'] }}"}}
"""


def test_a_question_that_too_few_can_sign_in_to_answer_is_named(
    muster: Muster, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "include" / "automations" / "asks.yaml").write_text(ASKS)
    assert "approvals" not in checks(muster), "before the first start nobody knows"
    (project / ".muster").mkdir(mode=0o700)
    renew_logins(project / ".muster")
    found = checks(muster)["approvals"]
    assert found["verdict"] == "note"
    assert found["found"].startswith("asks, step ask: 2 of finance-lead, cfo have to approve, and cfo cannot")
    assert "muster users add cfo" in found["remedy"]
    monkeypatch.setenv("MUSTER_USERS", "cfo:viewer")
    renew_logins(project / ".muster")
    assert "approvals" in checks(muster), "who may only look cannot answer"
    monkeypatch.setenv("MUSTER_USERS", "cfo:user")
    renew_logins(project / ".muster")
    assert "approvals" not in checks(muster)


def test_a_watched_folder_is_said_where_it_is(muster: Muster, project: Path) -> None:
    (project / "include" / "automations" / "watches.yaml").write_text(
        "automation: watches\ntriggers: [{files: {path: letters, match: ['*']}}]\n"
        "inputs: {letters: {type: array, items: {type: string}}}\n"
        "steps:\n  - {id: tell, notify: [{slack: '#ops', text: x}]}\n"
    )
    found = checks(muster)["files of watches"]
    assert (found["verdict"], found["found"]) == ("note", f"{project / 'letters'} is no folder")
    assert f"a relative path counts from {project}" in found["remedy"]
    (project / "letters").mkdir()
    assert checks(muster)["files of watches"]["found"] == str(project / "letters")


def test_files_whose_trigger_was_removed_before_their_run_began_are_told(
    muster: Muster, project: Path, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    inbox, automation = project / "letters", project / "include" / "automations" / "watches.yaml"
    inbox.mkdir()
    (inbox / "a b.txt").write_text("x")
    os.utime(inbox / "a b.txt", (1, 1))
    without = (
        "automation: watches\ninputs: {letters: {type: array, items: {type: string}, default: []}}\n"
        "steps:\n  - {id: tell, notify: [{slack: '#ops', text: x}]}\n"
    )
    trigger = "triggers: [{files: {path: letters, match: ['*']}}]\n"
    automation.write_text(without + trigger)
    watch = Watch("watches", str(inbox), "letters", ("letters",))
    (batch,) = claim(database, watch, look(inbox, ["*"]))
    assert checks(muster)["files of watches"]["verdict"] == "good", "its watch will start their run"
    automation.write_text(without)
    told = checks(muster)["files of watches"]
    assert told["verdict"] == "bad"
    assert f"a file of {inbox} had arrived" in told["found"]
    assert "Put the `files` trigger of watches back, for the input `letters`" in told["remedy"]
    broken = automation.with_name("other.yaml")
    broken.write_text("nonsense")
    assert "files of watches" not in checks(muster), "the trigger may stand in what cannot be read"
    broken.unlink()
    automation.unlink()
    assert checks(muster)["files of watches"]["verdict"] == "bad", "nor is there an automation of that name"
    (inbox / "a b.txt").rename(project / "done.txt")
    assert "files of watches" not in checks(muster), "somebody has dealt with it"
    (project / "done.txt").rename(inbox / "a b.txt")
    started(database, "watches", batch)
    assert "files of watches" not in checks(muster)


def test_an_operator_whose_module_fails_is_found_where_lint_sees_nothing_wrong(muster: Muster, project: Path) -> None:
    (project / "plugins").mkdir()
    (project / "plugins" / "failing_operators.py").write_text("import nowhere_at_all\n\nclass Fails: ...\n")
    (project / "include" / "settings.yaml").write_text("allowed_operators: [failing_operators.*, pathlib.*]\n")
    path = project / "include" / "automations" / "fails.yaml"
    path.write_text("automation: fails\nsteps:\n  - {id: one, operator: failing_operators.Fails}\n")
    assert muster("lint").exit_code == 0
    found = checks(muster)["operator"]
    assert found["verdict"] == "bad"
    assert "No module named 'nowhere_at_all'" in found["found"]
    assert str(path) in found["found"]
    path.write_text("automation: fails\nsteps:\n  - {id: one, operator: pathlib.Path}\n")
    assert checks(muster)["operators"]["verdict"] == "good"


def test_an_operator_that_turns_out_to_have_tasks_skipped_is_found(muster: Muster, project: Path) -> None:
    (project / "plugins").mkdir()
    (project / "plugins" / "made_operators.py").write_text(
        "import importlib\n\n"
        "made = importlib.import_module('airflow.providers.standard.operators.latest_only')\n"
        "Made = type('Made', (made.LatestOnlyOperator,), {})\n"
    )
    (project / "include" / "settings.yaml").write_text("allowed_operators: [made_operators.*]\n")
    path = project / "include" / "automations" / "skips.yaml"
    path.write_text("automation: skips\nsteps:\n  - {id: one, operator: made_operators.Made}\n")
    assert muster("lint").exit_code == 0
    found = checks(muster)["operator"]
    assert found["verdict"] == "bad"
    assert found["found"].startswith(f"made_operators.Made ({path}, step one) has Airflow skip tasks after it")
    assert "Write `when`" in found["remedy"]


def test_an_operator_whose_module_hangs_is_found_and_hides_no_other(project: Path) -> None:
    (project / "plugins").mkdir()
    (project / "plugins" / "hanging_operators.py").write_text("import time\ntime.sleep(300)\n")
    failed, skipping = imported(["hanging_operators.Own", "pathlib.Path"], project / "plugins", limit=2)
    assert (failed, skipping) == ({"hanging_operators.Own": "its module is not imported within 2 s"}, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit(0)\nclass Own: ...\n", "SystemExit: 0"),
        ("raise SystemExit('it wants a licence')\nclass Own: ...\n", "SystemExit: it wants a licence"),
        ("import os\nprint('no licence', flush=True)\nos._exit(0)\nclass Own: ...\n", "ends the process"),
        ("import atexit\natexit.register(lambda: print('bye'))\nclass Own: ...\n", None),
    ],
    ids=["exits", "says why", "at once", "prints at its end"],
)
def test_an_operator_whose_module_ends_the_process_is_found_and_hides_no_other(
    muster: Muster, project: Path, text: str, said: str | None
) -> None:
    (project / "plugins").mkdir()
    (project / "plugins" / "ending_operators.py").write_text(text)
    (project / "include" / "settings.yaml").write_text("allowed_operators: [ending_operators.*, pathlib.*]\n")
    automations = project / "include" / "automations"
    (automations / "ends.yaml").write_text(
        "automation: ends\nsteps:\n"
        "  - {id: one, operator: ending_operators.Own}\n  - {id: two, operator: pathlib.Path}\n"
    )
    found = checks(muster)
    if said is None:
        assert found["operators"]["verdict"] == "good"
    else:
        assert found["operator"]["verdict"] == "bad"
        assert "ending_operators.Own" in found["operator"]["found"]
        assert said in found["operator"]["found"]
