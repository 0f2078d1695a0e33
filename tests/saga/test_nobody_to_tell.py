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
    assert (told.target, told.run, "cannot be undone now" in told.text) == ("#incidents", run, True)


def test_of_one_about_somebody_it_is_told_only_where_to_look(tmp_path: Path, database: Database) -> None:
    """Nobody named that channel for what is said there, its title too."""
    site = Site(tmp_path, database)
    site.skills("depot", SKILLS)
    source = SOURCE.replace(
        "steps:", 'title: Sick leave\ninputs: {who: {type: string}}\npersonal: {subject: "{{ inputs.who }}"}\nsteps:'
    )
    run = site.open(site.definition(source), who="Max Meier")
    site.step(run, "one")
    site.step(run, "two")
    assert site.unwind(run) == "failed"
    (told,) = site.services.notices.outbox.entries()
    assert (told.target, told.subject) == ("#incidents", "")
    assert told.text == (
        f"{run}, one: there is something to tell, and no address that can be used is named for it.\n"
        f"What it is: muster show {run}"
    )
