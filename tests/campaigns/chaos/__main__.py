"""Many runs on the real Airflow while everything breaks: `python tests/campaigns/chaos [RUNS] [SEED] [MINUTES]`.

Processes are killed, connections dropped, a disk fills up, clocks jump, and the model answers nonsense or nothing; a
witness that stands outside counts what really happened. It ends with a table, and with exit code 1 when something
that Muster promises did not hold, and 2 when time was up before every run had been started.
"""

from __future__ import annotations

import logging
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

from campaigns.chaos.campaign import campaign
from campaigns.chaos.evidence import keep
from campaigns.chaos.judging import judge
from campaigns.chaos.settling import settle
from campaigns.chaos.table import table
from campaigns.chaos.world import world


def main() -> None:
    """Play, settle, judge, print."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Whatever ends the campaign, what it started is stopped.
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    runs, seed, minutes = (int(text) for text in [*sys.argv[1:], *("200", "1", "40")[len(sys.argv) - 1 :]])
    # A pool that says of each connection that it is broken would hide everything else.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    began = time.monotonic()

    def say(text: str) -> None:
        print(text, flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="muster-chaos-", dir="/tmp") as name,
        world(Random(f"world {seed}"), open_to_all(Path(name)), say) as broken,
    ):
        played = campaign(broken, runs, seed, minutes, say)
        played.play()
        settled = settle(played)
        report = judge(played, settled)
        if report.broken:
            say(f"What is needed to find out why is kept in {keep(played)}")
        seconds = time.monotonic() - began
    say(table(report, runs, seed, seconds))
    if report.broken or report.not_started:
        sys.exit(1 if report.broken else 2)


def open_to_all(folder: Path) -> Path:
    """A folder that PostgreSQL may enter, which runs as somebody else when root starts it."""
    folder.chmod(0o755)
    return folder


if __name__ == "__main__":
    main()
