"""The reconciler marks messages that nobody will receive any more."""

from __future__ import annotations

import time

from muster.coordination.messages import Post
from support.reconciled import FakeAirflow, found
from support.runs import Site


def test_what_expires_in_a_mailbox_that_nobody_looks_at_is_marked(site: Site) -> None:
    post = Post(site.services.database)
    lead = post.mailbox("demo/run", "lead")
    lead.send("gone", 1, expires_in=0.01)
    lead.send("gone", 2)
    time.sleep(0.05)
    assert found(site, FakeAirflow(), mend=False) == []
    assert [each.status for each in post.messages()] == ["waiting", "waiting"]
    assert found(site, FakeAirflow()) == []
    assert [each.status for each in post.messages()] == ["expired", "waiting"]
    post.close()
