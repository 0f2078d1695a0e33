"""Where the only address that is named is none, the common channel is told."""

from __future__ import annotations

from pathlib import Path

from muster.database import Database
from support.runs import Site
from support.stuck import AUTOMATION, SKILLS

SOURCE = AUTOMATION.replace(
    "automation: a\n",
    'automation: a\nsettings: {office: "Office <office@example.com>"}\nincidents: [{email: "{{ settings.office }}"}]\n',
)


def test_of_a_stuck_run_the_common_channel_is_told(tmp_path: Path, database: Database) -> None:
    site = Site(tmp_path, database)
    site.skills("depot", SKILLS)
    run = site.open(site.definition(SOURCE))
    site.step(run, "one")
    site.step(run, "two")
    assert site.unwind(run) == "failed"
    (told,) = site.services.notices.outbox.entries()
    assert (told.target, told.run) == ("#incidents", run)
