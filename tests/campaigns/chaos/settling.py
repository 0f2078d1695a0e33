"""What people and the reconciler do after the storm: look for disagreements, resume what is stuck, settle doubts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from campaigns.chaos.campaign import LEFT, Campaign
from campaigns.chaos.plan import CHILDREN
from muster.database import Database
from muster.events.queries import Queries
from muster.recovery.effects import GRACE, LONGEST_WAIT
from muster.recovery.ledger import Ledger

ROUNDS = 6
"""How often the reconciler is asked at most: it restarts a run three times, and then has it undone."""


class Found(NamedTuple):
    """One thing that `muster reconcile` found."""

    kind: str
    subject: str
    message: str
    mended: bool

    @property
    def is_left(self) -> bool:
        """True when it stays as it is: a notice is sent again by the reconciler's Dag, at its own time."""
        return not self.mended and self.kind != "notice"


@dataclass
class Settled:
    """What was found, and what was done about it."""

    found: list[Found] = field(default_factory=list)
    """What the reconciler reported once every run had ended."""
    left: list[Found] = field(default_factory=list)
    """What it still reports when everybody has acted."""
    stuck: list[str] = field(default_factory=list)
    in_doubt: list[str] = field(default_factory=list)
    """Keys of effects that nobody knew the outcome of."""
    freed: int = 0
    """Schedulers that had died with their clock ahead and still counted as alive."""
    refused: list[str] = field(default_factory=list)
    """What a command that should have worked said."""


def settle(played: Campaign) -> Settled:
    """Act as people would."""
    played.recover()
    world, database = played.world, Database(played.world.dsn, max_size=2)
    settled = Settled()
    try:
        # A claim that a killed attempt left behind has to run out before its effect counts as in doubt.
        played.wait("claims to run out", lambda: not _claimed(database), LONGEST_WAIT + GRACE)
        settled.found = list(_reconciled(played, settled))
        settled.stuck = [row.id for row in Queries(database).runs(status="stuck", limit=10_000)]
        settled.in_doubt = [entry.key for entry in Ledger(database).entries(in_doubt=True, limit=10_000)]
        for key in settled.in_doubt:
            _settle_effect(played, settled, key)
        world.witness.mended = True
        # A run is undone only after those that it has asked for.
        for run in sorted(settled.stuck, key=lambda run: run.partition("/")[0] not in CHILDREN):
            _command(played, settled, "resume", run, "--note", "mended by the campaign")
            played.wait(f"{run} to be undone", lambda run=run: not _is_stuck(database, run), LEFT)
        played.wait("resumed runs to end", lambda: not _stuck(database) and world.has_ended(played.started), LEFT)
        played.wait("leases to end", lambda: not _leased(database), 60.0)
        settled.left = _reconcile(played, settled)
    finally:
        database.close()
    return settled


def _reconciled(played: Campaign, settled: Settled) -> Iterator[Found]:
    """Everything that the reconciler finds, until it finds nothing more to mend and what it restarted has ended.

    What a dead scheduler was at that still counts as alive is given up first, as a person does.
    """
    freed = settled.freed = played.world.give_up_dead_schedulers()
    for _ in range(ROUNDS):
        found = _reconcile(played, settled)
        yield from found
        if not freed and not any(each.mended for each in found):
            return
        freed = 0
        played.wait("what was restarted to end", lambda: played.world.has_ended(played.started), LEFT)


def _reconcile(played: Campaign, settled: Settled) -> list[Found]:
    """What `muster reconcile` tells, at once rather than after runs have been quiet for a while."""
    answer = _command(played, settled, "reconcile", "--quiet", "0", "--json")
    return [
        Found(each["kind"], each["subject"], each["message"], each["mended"]) for each in json.loads(answer or "[]")
    ]


def _settle_effect(played: Campaign, settled: Settled, key: str) -> None:
    """A person asks the other side whether it happened, and says so."""
    order = key.partition("/effect/")[0]
    happened = any(deed.order == order for deed in played.world.witness.deeds)
    said = ("--happened", "--result", "0") if happened else ("--never-happened",)
    _command(played, settled, "effects", "settle", key, *said)


def _command(played: Campaign, settled: Settled, *arguments: str) -> str:
    """Run `muster` as people do; what it printed."""
    world = played.world
    place = {
        "MUSTER_DSN": world.dsn,
        "AIRFLOW_URL": f"http://127.0.0.1:{world.stack.port}",
        "MUSTER_PASSWORD": world.stack.credentials.logins["admin"].password,
    }
    done = subprocess.run(
        [sys.executable, "-m", "muster.cli", *arguments],
        cwd=world.stack.project.root,
        env=os.environ | place,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        settled.refused.append(f"muster {' '.join(arguments)}: {done.stderr.strip()[-300:]}")
    return done.stdout if done.returncode == 0 else ""


def _is_stuck(database: Database, run: str) -> bool:
    return run.partition("/")[0] in CHILDREN and Queries(database).run(run).status == "stuck"


def _stuck(database: Database) -> bool:
    return bool(Queries(database).runs(status="stuck", limit=1))


def _claimed(database: Database) -> bool:
    with database.connection() as connection:
        row = connection.execute("SELECT count(*) FROM effects WHERE claimed_until > clock_timestamp()").fetchone()
    return bool(row and row[0])


def _leased(database: Database) -> bool:
    with database.connection() as connection:
        row = connection.execute("SELECT count(*) FROM leases WHERE expires_at > clock_timestamp()").fetchone()
    return bool(row and row[0])
