"""A run that is stuck: what its first step did cannot be undone, until a file says that it can, or by nothing."""

from __future__ import annotations

from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "stuck")
AUTOMATION = """automation: a
steps:
  - {id: one, skill: depot.act, with: {name: one}, compensate: {skill: depot.undo}}
  - {id: two, skill: depot.act, with: {name: bad}}
"""
FINAL = AUTOMATION.replace("compensate: {skill: depot.undo}", "irreversible: true").replace(
    "steps:\n", "steps:\n  - {id: agreed, human: {ask: 'Go?', assignees: [boss]}}\n"
)
"""Of a run that is stuck at this nothing has begun to be undone, so that it may go forward."""


def stuck(site: Site, *, closed: bool = True, source: str = AUTOMATION) -> str:
    """Such a run; its end may be a moment away."""
    run = site.open(site.definition(source))
    if source == FINAL:
        site.approve(run, "agreed", by="boss")
    site.step(run, "one")
    site.step(run, "two")
    assert site.unwind(run) == "failed"
    if closed:
        site.close(run)
    assert site.state(run).status == "stuck"
    return run
