"""`make test-compose`: the guide to Docker, done as it is written, on a real engine.

Every command is taken from docs/docker.md. Around them each service is killed in the middle of a run, an automation
is edited and the image built while a run waits, and a backup is restored on empty volumes. What was posted is counted
in the ledger's own table.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.documents import blocks  # noqa: E402
from support.engine import NoEngine, bases, engine  # noqa: E402

PATIENCE = 600.0
"""Seconds for what takes one on an idle machine."""
SERVICES = ("triggerer", "scheduler", "dag-processor", "api-server", "postgres")
AUTOMATION = "include/automations/business_process/invoice_processing.yaml"


class Failed(Exception):
    """What is not as it should be."""


class Site:
    """A copy of the project in which the guide's commands are done."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        # Names of its own: this may be the engine that Muster runs on.
        name = f"muster-test-{secrets.token_hex(4)}"
        self.image = f"{name}:latest"
        self.variables = {**variables, "COMPOSE_PROJECT_NAME": name, "MUSTER_IMAGE": self.image}
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Tell how far it is."""
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", flush=True)

    def guide(self, part: str) -> None:
        """Do what the guide says in the block with this mark."""
        [block] = [block for block in blocks("sh", mark=part) if block.page.name == "docker.md"]
        self.say(f"guide: {part}")
        self.shell(block.text)

    def shell(self, text: str) -> str:
        """Do commands; what they print on standard output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise Failed(f"failed with {done.returncode}:\n{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def muster(self, arguments: str) -> Any:
        """What a command says for machines."""
        return json.loads(self.shell(f"docker compose exec -T scheduler muster {arguments} --json"))

    def rows(self, database: str, query: str) -> list[str]:
        """What PostgreSQL answers: the witness, and so cheap that it can be asked again and again."""
        return self.shell(f'docker compose exec -T postgres psql -U postgres -d {database} -Atc "{query}"').splitlines()

    def postings(self) -> int:
        """How many postings the ledger has."""
        return int(self.rows("muster", "SELECT count(*) FROM finance.postings")[0])

    def runs(self, status: str) -> list[str]:
        """The automation's runs with this status."""
        return self.rows(
            "muster", f"SELECT id FROM runs WHERE automation = 'invoice_processing' AND status = '{status}'"
        )

    def waiting(self) -> str | None:
        """The run whose question Airflow shows to people, from the first moment on, if there is one."""
        questions = "hitl_detail h JOIN task_instance t ON t.id = h.ti_id WHERE h.responded_at IS NULL"
        return next(iter(self.rows("airflow", f"SELECT t.dag_id || '/' || t.run_id FROM {questions}")), None)

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """Wait until it is so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found = condition()
            except Failed:
                if time.monotonic() > deadline:
                    raise
                found = None
            if found:
                self.say(what)
                return found
            if time.monotonic() > deadline:
                raise Failed(f"not within {PATIENCE:.0f} s: {what}")
            time.sleep(0.5)

    def kill(self, *services: str) -> None:
        """Kill processes of services: `docker kill` would count as a stop by hand, after which none is restarted."""
        processes = [self.inspect(service, "{{.State.Pid}}") for service in services]
        # By a container, for we may be neither root nor on the engine's machine.
        self.shell(f"docker run --rm --pid host --user 0 {self.image} sh -c 'kill -9 {' '.join(processes)}'")

    def health(self, service: str) -> str:
        """What Docker says of a service."""
        return self.inspect(service, "{{.State.Health.Status}}")

    def inspect(self, service: str, template: str) -> str:
        """Something that Docker knows of a service's container."""
        return self.shell(f"docker inspect --format '{template}' $(docker compose ps --quiet {service})").strip()


def main() -> int:
    """Do all of it; 0 also where no engine can be had, because then there is nothing to test."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        with (
            engine() as variables,
            bases(variables),
            tempfile.TemporaryDirectory(prefix="muster-compose-") as name,
        ):
            site = Site(copied(Path(name) / "a project"), variables)
            try:
                tried(site)
            except Failed as reason:
                print(site.shell("docker compose ps; docker compose logs --no-color --tail 40"), flush=True)
                site.say(f"FAILED: {reason}")
                return 1
            finally:
                site.shell(f"docker compose down --volumes --timeout 5; docker image rm {site.image} || true")
    except NoEngine as reason:
        print(f"test-compose: SKIPPED, nothing of docs/docker.md was tried: {reason}")
    return 0


def _stop(*_: object) -> None:
    # Once: make passes on what the whole group got, and the second would end the cleaning up.
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.exit(143)


def copied(folder: Path) -> Path:
    """The project's files, as a clone has them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in filter(None, listed.split("\0")):
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    return folder


def tried(site: Site) -> None:
    """From nothing to a restored backup."""
    site.guide("start")
    site.guide("load")
    site.guide("deliver")
    site.wait("a run began", lambda: site.runs("open"))
    site.kill(*SERVICES)
    site.say("all five services were killed in the middle of the run")
    site.wait("the run waits for a person", site.waiting)
    site.guide("answer")
    site.wait("the run succeeded", lambda: len(site.runs("succeeded")) == 1)
    expect(site.postings(), 2, "postings after the first run")
    site.guide("results")
    expect(len(list((site.folder / "results").rglob("*.html"))), 1, "reports copied out")
    site.guide("commands")

    site.shell("cp include/inbox/invoices/03-kolberg-it.pdf inbox/invoices/")
    run = site.wait("the next run waits", site.waiting)
    edited(site, run)
    broken(site)

    site.guide("backup")
    site.shell("docker compose down --volumes --timeout 20")
    site.say("everything is gone")
    site.guide("restore")
    expect(site.waiting(), run, "the run that waits after the restore")
    site.shell(f"docker compose exec -T scheduler muster approve {run} --as finance-lead")
    site.wait("the restored run succeeded", lambda: len(site.runs("succeeded")) == 2)
    expect(site.postings(), 3, "postings in the end")
    site.shell("docker compose exec -T scheduler muster verify")


def edited(site: Site, run: str) -> None:
    """Edit an automation and build: in no time, for no room, and the waiting run keeps its version."""
    before = version(site, run)
    file = site.folder / AUTOMATION
    file.write_text(file.read_text().replace("title: Write the report", "title: Write a report"))
    began, before_it = time.monotonic(), layers(site)
    site.shell("docker compose build")
    site.say(f"the edited automation was built in {time.monotonic() - began:.1f} s")
    expect(len(layers(site) - before_it), 1, "new layers of the image")
    sizes = map(int, site.shell(f"docker history --human=false --format '{{{{.Size}}}}' {site.image}").split())
    expect(next(filter(None, sizes)) < 4_000_000, True, "below 4 MB")
    site.guide("lint")
    site.guide("rebuild")
    expect(version(site, run), before, "the version of the run that waits")


def broken(site: Site) -> None:
    """An automation that does not load makes the dag-processor unhealthy and nothing else, once it is mounted."""
    site.guide("mount")
    file = site.folder / AUTOMATION
    text = file.read_text()
    file.write_text(re.sub(r"skill: finance.report\b", "skill: finance.no_such_skill", text))
    site.wait("a broken automation turned the dag-processor red", lambda: site.health("dag-processor") == "unhealthy")
    said = site.inspect("dag-processor", "{{json .State.Health.Log}}")
    expect("no skill `finance.no_such_skill`" in said, True, f"its check names what is wrong: {said}")
    expect(site.health("scheduler"), "healthy", "the scheduler meanwhile")
    file.write_text(text)
    site.wait("the mended one turned it green", lambda: site.health("dag-processor") == "healthy")


def layers(site: Site) -> set[str]:
    """The image's layers, by the hashes of their contents."""
    return set(json.loads(site.shell(f"docker image inspect --format '{{{{json .RootFS.Layers}}}}' {site.image}")))


def version(site: Site, run: str) -> Any:
    """The bundle's version that a run belongs to."""
    return site.muster(f"show {run}")["run"]["bundle_version"]


def expect(found: Any, wanted: Any, what: str) -> None:
    """Fail unless it is so."""
    if found != wanted:
        raise Failed(f"{what}: {found}, not {wanted}")


if __name__ == "__main__":
    sys.exit(main())
