"""`make test-compose`: the guide to Docker, done as it is written, on a real engine.

Every command is taken from docs/docker.md. Around them each service is killed in the middle of a run, an automation
is edited and the image built while a run waits, and a backup is restored on empty volumes. What was posted is counted
in the ledger's own table.
"""

from __future__ import annotations

import json
import os
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
from support.engine import NoEngine, engine, have_bases  # noqa: E402

PATIENCE = 600.0
"""Seconds for what takes one on an idle machine."""
SERVICES = ("triggerer", "scheduler", "dag-processor", "api-server", "postgres")
BEFORE_AN_ANSWER = 8.0
"""Seconds: an answer right after its question may fail a run."""
AUTOMATION = "include/automations/business_process/invoice_processing.yaml"


class Site:
    """A copy of the project in which the guide's commands are done."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = {**variables, "COMPOSE_PROJECT_NAME": f"muster-test-{secrets.token_hex(4)}"}
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
            raise SystemExit(f"failed with {done.returncode}:\n{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def muster(self, arguments: str) -> Any:
        """What a command says for machines."""
        return json.loads(self.shell(f"docker compose exec -T scheduler muster {arguments} --json"))

    def postings(self) -> int:
        """How many postings the ledger has, as PostgreSQL counts them."""
        query = "SELECT count(*) FROM finance.postings"
        return int(self.shell(f"docker compose exec -T postgres psql -U postgres -d muster -Atc '{query}'"))

    def runs(self, status: str) -> list[dict[str, Any]]:
        """The automation's runs with this status."""
        found = self.muster(f"runs --automation invoice_processing --status {status}")
        return list(found)

    def waiting(self) -> str | None:
        """The run that waits for a person, if one does."""
        for run in self.runs("open"):
            asked = [e for e in self.muster(f"show {run['id']}")["events"] if e["type"] == "approval.requested"]
            if asked:
                return str(run["id"])
        return None

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """Wait until it is so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found = condition()
            except SystemExit:
                if time.monotonic() > deadline:
                    raise
                found = None
            if found:
                self.say(what)
                return found
            if time.monotonic() > deadline:
                raise SystemExit(f"not within {PATIENCE:.0f} s: {what}\n{self.shell('docker compose ps')}")
            time.sleep(2)

    def kill(self, service: str) -> None:
        """Kill a container's first process: `docker kill` would count as a stop by hand, which restarts nothing."""
        container = self.shell(f"docker compose ps --quiet {service}").strip()
        process = int(self.shell(f"docker inspect --format '{{{{.State.Pid}}}}' {container}"))
        if process > 0:
            os.kill(process, signal.SIGKILL)

    def health(self, service: str) -> str:
        """What Docker says of a service."""
        container = self.shell(f"docker compose ps --quiet {service}").strip()
        return self.shell(f"docker inspect --format '{{{{.State.Health.Status}}}}' {container}").strip()


def main() -> int:
    """Do all of it; 0 also where no engine can be had, because then there is nothing to test."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with engine() as variables, tempfile.TemporaryDirectory(prefix="muster-compose-") as name:
            have_bases(variables)
            site = Site(copied(Path(name) / "a project"), variables)
            try:
                tried(site)
            finally:
                site.shell("docker compose down --volumes --timeout 5")
    except NoEngine as reason:
        print(f"test-compose: skipped, for {reason}")
    return 0


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
    for service in SERVICES:
        site.kill(service)
    site.say("all five services were killed in the middle of the run")
    site.wait("the run waits for a person", site.waiting)
    time.sleep(BEFORE_AN_ANSWER)
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
    sizes = map(int, site.shell("docker history --human=false --format '{{.Size}}' muster:0.1.0").split())
    expect(next(filter(None, sizes)) < 4_000_000, True, "below 4 MB")
    site.guide("rebuild")
    expect(version(site, run), before, "the version of the run that waits")


def broken(site: Site) -> None:
    """An automation that does not load makes the dag-processor unhealthy and nothing else, once it is mounted."""
    site.guide("mount")
    file = site.folder / AUTOMATION
    text = file.read_text()
    file.write_text(re.sub(r"skill: finance.report\b", "skill: finance.no_such_skill", text))
    site.wait("a broken automation turned the dag-processor red", lambda: site.health("dag-processor") == "unhealthy")
    expect(site.health("scheduler"), "healthy", "the scheduler meanwhile")
    file.write_text(text)
    site.wait("the mended one turned it green", lambda: site.health("dag-processor") == "healthy")


def layers(site: Site) -> set[str]:
    """The image's layers, by the hashes of their contents."""
    return set(json.loads(site.shell("docker image inspect --format '{{json .RootFS.Layers}}' muster:0.1.0")))


def version(site: Site, run: str) -> Any:
    """The bundle's version that a run belongs to."""
    return site.muster(f"show {run}")["run"]["bundle_version"]


def expect(found: Any, wanted: Any, what: str) -> None:
    """End here unless it is so."""
    if found != wanted:
        raise SystemExit(f"{what}: {found}, not {wanted}")


if __name__ == "__main__":
    sys.exit(main())
