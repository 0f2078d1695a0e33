"""Everything a campaign has under its hands: the stack on a copy of the project, and all that stands round it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from campaigns.chaos.faults import Strike, compiled_clock, mount, set_clock
from campaigns.chaos.follower import Follower
from campaigns.chaos.line import Line, line
from campaigns.chaos.plan import CHILDREN, EFFECTS, Planned
from campaigns.chaos.witness import Witness, serving
from muster.errors import MusterError
from muster.local.airflow import component_specs, connection_json
from muster.local.client import AirflowClient, Unreachable
from muster.local.credentials import load_credentials
from muster.local.postgres import data_directory
from muster.local.processes import ProcessSpec
from muster.local.project import Project
from muster.local.stack import Say, Stack
from support.model_server import ModelServer

ROOT = Path(__file__).parents[3]
SITE = Path(__file__).with_name("site")
AUTOMATIONS = (*EFFECTS, *CHILDREN)
PEOPLE = ("finance-lead", "chaos-head")
TASK = re.compile(r"^airflow worker -- [0-9a-f]{8}-[0-9a-f-]{27}")
"""The title of a process that performs a task."""
DISKS = {"artifacts": 16, "database": 512}
"""Megabytes of each disk that is filled."""
SKEWED = ("scheduler", "triggerer")
"""Components whose clock may jump: what decides about tasks and performs them, in both lanes."""


DEAD_SCHEDULERS = """\
UPDATE job SET state = 'failed'
WHERE job_type = 'SchedulerJob' AND state = 'running' AND latest_heartbeat > now() + interval '1 minute'
  AND id < (SELECT max(id) FROM job WHERE job_type = 'SchedulerJob')"""


class SkewedStack(Stack):
    """A stack whose components each have a clock that a file can set wrong."""

    clocks: dict[str, Path]
    library: Path | None

    def launch(self) -> None:
        """Start Airflow's processes, some of them with a clock of their own."""
        specs = component_specs(self.project, self.environment)
        for spec in specs:
            skewed = self._with_clock(spec) if spec.name in SKEWED else spec
            self.supervisor.specs = [*self.supervisor.specs, skewed]
        self.supervisor.start()
        self._note()

    def prepare(self) -> None:
        """Prepare as usual, and start PostgreSQL again with a clock of its own: it times leases and claims."""
        super().prepare()
        process = self.supervisor.components["postgres"].process
        process.stop()
        # Segments of its log that are kept for later use would fill a small disk by themselves.
        spec = replace(process.spec, command=[*process.spec.command, "-c", "max_wal_size=96MB"])
        process.spec = self._with_clock(spec)
        process.start()
        before = self._told()
        if (path := self.clocks.get("postgres")) is not None:
            set_clock(path, 5_000)
            if self._told() - before < 4_000:
                # Its account may not read what is needed for it.
                del self.clocks["postgres"]
            set_clock(path, 0)

    def _with_clock(self, spec: ProcessSpec) -> ProcessSpec:
        if self.library is None:
            return spec
        path = self.library.with_name(f"{spec.name}.clock")
        set_clock(path, 0)
        path.chmod(0o644)
        self.clocks[spec.name] = path
        own = {"LD_PRELOAD": str(self.library), "CHAOS_CLOCK": str(path)}
        return replace(spec, environment={**spec.environment, **own})

    def _told(self) -> float:
        """What PostgreSQL takes for the time, once it answers; seconds."""
        deadline = time.monotonic() + 30.0
        while True:
            try:
                with psycopg.connect(self.dsn, connect_timeout=3) as connection:
                    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
                    return float(row[0]) if row else 0.0
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


@dataclass
class World:
    """The stack, the other side, the line to the database, the model, the disk and the clocks."""

    stack: SkewedStack
    witness: Witness
    models: ModelServer
    proxy: Line
    follower: Follower
    client: AirflowClient
    people: list[AirflowClient]
    """Who is asked for approval."""
    disks: dict[str, Path]
    """Small file systems of their own, `artifacts` and `database`; none where none can be mounted."""
    said: list[str] = field(default_factory=list)
    """What the supervisor said."""

    @property
    def lead(self) -> AirflowClient:
        """One of them."""
        return self.people[0]

    def script_models(self) -> None:
        """Models call the agent's tool first, then answer."""
        self.models.reset()
        call = {"name": "chaos_note", "arguments": {"text": "advised"}}
        self.models.always({"call": call, "unless": '"role": "tool"'})

    def begin_command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a `muster` command as people do."""
        place = {
            "MUSTER_DSN": self.dsn,
            "AIRFLOW_URL": f"http://127.0.0.1:{self.stack.port}",
            "MUSTER_PASSWORD": self.stack.credentials.logins["admin"].password,
        }
        command = [sys.executable, "-m", "muster.cli", *arguments]
        cwd, quiet = self.stack.project.root, subprocess.DEVNULL
        return subprocess.Popen(command, cwd=cwd, env=os.environ | place, stdout=quiet, stderr=quiet)

    @property
    def dsn(self) -> str:
        """Muster's database, without the line."""
        return self.stack.dsn

    @property
    def airflow_dsn(self) -> str:
        """Airflow's database."""
        return self.stack._prepared.airflow

    @property
    def clocks(self) -> dict[str, Path]:
        """The file that sets a component's clock, by component; none where there is no such clock."""
        return self.stack.clocks

    def main_process(self, component: str) -> psutil.Process | None:
        """The process that a keeper started; None while there is none."""
        keeper = self.stack.supervisor.components[component].process.pid
        with contextlib.suppress(psutil.Error):
            if keeper is not None and (children := psutil.Process(keeper).children()):
                return children[0]
        return None

    def task_processes(self) -> list[psutil.Process]:
        """The processes that perform a task right now."""
        main, found = self.main_process("scheduler"), []
        with contextlib.suppress(psutil.Error):
            for process in main.children(recursive=True) if main is not None else ():
                with contextlib.suppress(psutil.Error):
                    if TASK.match(" ".join(process.cmdline())):
                        found.append(process)
        return found

    def terminate_backends(self, share: float) -> int:
        """Have the server end a share of its connections; how many."""
        statement = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND random() < %s"
        )
        passwords = self.stack.credentials.database_passwords
        server = make_conninfo(self.dsn, dbname="postgres", user="postgres", password=passwords["postgres"])
        with psycopg.connect(server, connect_timeout=3, autocommit=True) as connection:
            row = connection.execute(statement, (share,)).fetchone()
        return int(row[0]) if row else 0

    def api_answers(self) -> bool:
        """True when the REST API is there."""
        try:
            return bool(self.client.health())
        except MusterError:
            return False

    def has_new_job(self, kind: str, strike: Strike) -> bool:
        """True when a process of this kind has started since, and shows signs of life."""
        statement = (
            "SELECT 1 FROM job WHERE job_type = %s AND start_date > now() - make_interval(secs => %s::float8)"
            " AND latest_heartbeat > start_date LIMIT 1"
        )
        with contextlib.suppress(psycopg.Error):
            since = time.monotonic() - strike.began
            return bool(self.ask_airflow(statement, kind, since))
        return False

    def ask_airflow(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Ask Airflow's database."""
        with psycopg.connect(self.airflow_dsn, connect_timeout=3) as connection:
            return connection.execute(statement, parameters).fetchall()

    def give_up_dead_schedulers(self) -> int:
        """Have Airflow take up what schedulers were at that died with their clock ahead; how many.

        The statement is the one that docs/recovery.md has: a campaign must not wait until they count as dead.
        """
        return len(self.ask_airflow(f"{DEAD_SCHEDULERS} RETURNING id"))

    def last_position(self) -> int:
        """Where the log ends now, 0 while the database is away."""
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.dsn, connect_timeout=3) as connection:
            row = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
            return int(row[0]) if row else 0
        return 0

    def ended_runs(self) -> dict[str, str]:
        """How Airflow ended each run, by the run's id; none while the database is away."""
        with contextlib.suppress(psycopg.Error):
            rows = self.ask_airflow("SELECT dag_id, run_id, state FROM dag_run WHERE state IN ('success', 'failed')")
            return {f"{dag}/{run}": str(state) for dag, run, state in rows}
        return {}

    def has_ended(self, runs: Sequence[Planned]) -> bool:
        """True when Airflow has ended all of these runs."""
        ended = self.ended_runs()
        return all(run.id in ended for run in runs)


@contextmanager
def world(random: Random, folder: Path, say: Say) -> Iterator[World]:
    """All of it, running and healthy; everything is stopped and removed in the end."""
    said: list[str] = []
    with ExitStack() as keep:
        keep.enter_context(_server_of_its_own())
        keep.enter_context(_logins())
        witness = keep.enter_context(serving(Witness(Random(random.random()))))
        models = keep.enter_context(ModelServer())
        project = _copy(folder / "project")
        disks: dict[str, Path] = {}
        for name, place in (("artifacts", folder / "disk"), ("database", _database_folder(project))):
            if (disk := mount(place, DISKS[name])) is not None:
                disks[name] = disk
                keep.callback(_unmount, disk)
        variables = {
            "CHAOS_WITNESS": witness.url,
            "AIRFLOW_CONN_CHAOS_MODEL": _model(models.url),
            **({"MUSTER_ARTIFACTS": str(disks["artifacts"])} if disks else {}),
        }
        stack = SkewedStack(project, variables=variables, say=lambda text: said.append(f"{time.time():.1f} {text}"))
        stack.clocks, stack.library = {}, compiled_clock(folder)
        keep.callback(stack.discard)
        keep.callback(stack.stop)
        stack.prepare()
        proxy = keep.enter_context(line(stack.dsn))
        stack.environment["AIRFLOW_CONN_MUSTER_DB"] = connection_json(proxy.dsn)
        say("Starting Airflow")
        stack.launch()
        stack.wait_healthy()
        client = keep.enter_context(stack.client(timeout=10.0))
        follower = Follower(stack.dsn)
        follower.start()
        keep.callback(follower.stop)
        people = [keep.enter_context(stack.client(name, timeout=10.0)) for name in PEOPLE]
        made = World(stack, witness, models, proxy, follower, client, people, disks, said)
        made.script_models()
        _wait_for_dags(made)
        yield made


def _copy(project: Path) -> Path:
    """The project as people have it, with the campaign's automations in place of its own."""
    project.mkdir(parents=True)
    project.chmod(0o755)
    shutil.copytree(SITE, project / "include", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dags", "plugins"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    return project


@contextmanager
def _logins() -> Iterator[None]:
    """People who are asked in twos."""
    given = os.environ.get("MUSTER_USERS")
    os.environ["MUSTER_USERS"] = "chaos-head:user"
    try:
        yield
    finally:
        os.environ.pop("MUSTER_USERS") if given is None else os.environ.update(MUSTER_USERS=given)


@contextmanager
def _server_of_its_own() -> Iterator[None]:
    """No PostgreSQL that others use is killed: the stack starts its own, whatever `DATABASE_URL` says."""
    given = os.environ.pop("DATABASE_URL", None)
    try:
        yield
    finally:
        if given is not None:
            os.environ["DATABASE_URL"] = given


def _database_folder(project: Path) -> Path:
    """Where PostgreSQL will keep its data."""
    state = Project(project, project / ".muster")
    state.make_state()
    return data_directory(state.state, load_credentials(state.state).identity).parent


def _model(url: str) -> str:
    extra = {"model": "openai-chat:chaos"}
    return json.dumps({"conn_type": "pydanticai", "host": url, "password": "any", "extra": extra})


def _unmount(disk: Path) -> None:
    subprocess.run(["umount", "--lazy", str(disk)], check=False)
    with contextlib.suppress(OSError):
        disk.rmdir()


def _wait_for_dags(world: World, patience: float = 120.0) -> None:
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(Unreachable):
            if all(world.client.dag(name) for name in AUTOMATIONS):
                return
            if errors := world.client.import_errors():
                raise MusterError(errors[0]["stack_trace"])
        if time.monotonic() > deadline:
            raise MusterError("Airflow did not find the campaign's automations.")
        time.sleep(0.5)
