"""What a process keeps of a list that was laid out, for as long as its items are at work."""

from __future__ import annotations

import pytest

from muster.events.state import fold
from muster.execution.fanout import load_fan_out
from muster.execution.references import WorkRef
from support.runs import Site
from support.sources import source_of

pytestmark = pytest.mark.skills(shop=source_of(__file__, "fan_outs_in_memory"))
AUTOMATION = """automation: tested
inputs: {names: {type: array, items: {type: string}}}
steps:
  - {id: read, each: "{{ inputs.names }}", pack: all, skill: shop.read, with: {name: "{{ item }}"}}
  - {id: post, each: "{{ steps.read }}", skill: shop.read, with: {name: "{{ item.name }}"}}
"""


def test_it_holds_the_state_and_no_events_of_other_steps(site: Site) -> None:
    """They are most of a long list's run, and no item looks into them: memory grows with each."""
    names = [f"n{number}" for number in range(20)]
    run = site.open(site.definition(AUTOMATION), names=names)
    site.all_of(run, "read")
    site.expand(run, "post")
    assert site.step(run, "post", 0).status == "succeeded"
    fan_out = site.do(load_fan_out(site.services, WorkRef(run=run, step="post", slot=0)))
    assert {event.step for event in fan_out.view.events} <= {None, "post"}
    everything = fold(site.services.log.read(run))
    assert fan_out.view.state.step("read").items == everything.step("read").items
    assert [item["name"] for item in fan_out.items if isinstance(item, dict)] == names
    assert site.all_of(run, "post")[-1].status == "succeeded"
