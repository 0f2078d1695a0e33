# ruff: noqa: F811
"""Notices of steps that are done again: nobody is told the same twice, and nobody is missed for another's sake."""

from __future__ import annotations

import pytest

from execution.test_done_again import HEAD, LIST, UNDO, House, house, one, work  # noqa: F401
from execution.test_lists_done_again import PRESENT, SKILLS, performed
from muster.errors import PermanentError, TransientError
from muster.events.personal import Vault
from muster.notifications import Delivery, Notice, Sender
from muster.operations.forgetting import forget
from support.runs import MASTER


class Channel:
    """Counts what leaves."""

    def __init__(self, house: House) -> None:
        self.sent: list[tuple[str, str]] = []
        self.refuses: dict[str, Exception] = {}
        services = house.site.services
        sender = Sender(services.database, {"slack": self}, seals=services.log.aseals)
        object.__setattr__(services, "notices", sender)

    async def send(self, notice: Notice) -> Delivery:
        if notice.target in self.refuses:
            raise self.refuses[notice.target]
        self.sent.append((notice.target, notice.text))
        return Delivery(delivered_by="slack", target=notice.target, reference="x")

    def new(self) -> list[tuple[str, str]]:
        """What was sent since this was asked last."""
        found, self.sent = sorted(self.sent), []
        return found


def tell(each: str = "", target: str = "#{{ item }}", text: str = "{{ item }} is paid") -> str:
    fans = f"each: '{{{{ {each} }}}}', pack: PACK, " if each else ""
    return f"  - {{id: tell, {fans}notify: [{{slack: '{target}', text: '{text}'}}]}}\n"


PAID = {name: (f"#{name}", f"{name} is paid") for name in "abcdx"}
OPS = {name: ("#ops", f"{name} is paid") for name in "abcdx"}


@pytest.mark.parametrize(("target", "told"), [("#{{ item }}", PAID), ("#ops", OPS)])
def test_a_redrive_that_moves_the_list_tells_whom_it_named_and_nobody_else(
    house: House, target: str, told: dict[str, tuple[str, str]]
) -> None:
    channel = Channel(house)
    house.site.skills("e", SKILLS)
    run = house.open(HEAD + LIST + work("check", "steps.list") + PRESENT + tell("steps.present", target))
    house.breaks("check.b.broken")
    performed(house, run, "list", "check", "present", "tell")
    house.ends(run)
    assert channel.new() == [told["a"], told["c"]]
    house.breaks()
    epoch = house.redrive(run, check=[1])
    performed(house, run, "check", "present", "tell", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert channel.new() == [told["b"]]
    assert [each[0]["target"] for each in house.site.state(run).step("tell").output] == [
        told[name][0] for name in "abc"
    ]
    epoch = house.restart(run, "tell")
    performed(house, run, "tell", epoch=epoch)
    assert (house.ends(run, epoch), channel.new()) == (("succeeded", None), [])


@pytest.mark.parametrize(("target", "told"), [("#{{ item }}", PAID), ("#ops", OPS)])
def test_a_restart_with_another_list_tells_those_that_are_new_on_it(
    house: House, target: str, told: dict[str, tuple[str, str]]
) -> None:
    channel = Channel(house)
    run = house.open(HEAD + LIST + tell("steps.list", target))
    performed(house, run, "list", "tell")
    house.ends(run)
    assert channel.new() == [told[name] for name in "abc"]
    for names, new in (("x b c d", "dx"), ("d c b a", ""), ("d x", "")):
        house.names(names)
        epoch = house.restart(run, "list")
        performed(house, run, "list", "tell", epoch=epoch)
        assert house.ends(run, epoch) == ("succeeded", None)
        assert channel.new() == [told[name] for name in new]


def test_what_was_undone_is_told_again_when_it_is_done_again(one: House) -> None:
    channel = Channel(one)
    pay = work("pay", "", UNDO.replace("{{ item }}", "pay"))
    run = one.open(HEAD + LIST + pay + tell(target="#ops", text="Paid {{ steps.list | length }}.") + work("last"))
    performed(one, run, "list", "pay", "tell")
    one.ends(run)
    assert channel.new() == [("#ops", "Paid 3.")]
    epoch = one.restart(run, "pay")
    performed(one, run, "pay", "tell", "last", epoch=epoch)
    assert channel.new() == []
    one.ends(run, epoch)
    one.names("a b")
    epoch = one.restart(run, "list")
    performed(one, run, "list", "pay", "tell", "last", epoch=epoch)
    assert (one.ends(run, epoch), channel.new()) == (("succeeded", None), [("#ops", "Paid 2.")])


@pytest.mark.parametrize("error", [TransientError("busy"), PermanentError("no such place")])
def test_what_waits_for_its_channel_is_not_overwritten_by_another_item(house: House, error: Exception) -> None:
    channel = Channel(house)
    channel.refuses["#b"] = error
    run = house.open(HEAD + LIST + tell("steps.list"))
    performed(house, run, "list", "tell")
    house.ends(run)
    assert channel.new() == [PAID["a"], PAID["c"]]
    channel.refuses.clear()
    house.names("a x c")
    epoch = house.restart(run, "list")
    performed(house, run, "list", "tell", epoch=epoch)
    assert (house.ends(run, epoch), channel.new()) == (("succeeded", None), [PAID["x"]])
    waiting = [entry.target for entry in house.site.services.notices.outbox.entries() if entry.status != "sent"]
    # One that was refused for good gives way; one that may pass is sent by the reconciler.
    assert waiting == ([] if isinstance(error, PermanentError) else ["#b"])


def test_what_was_told_about_somebody_who_is_forgotten_is_not_told_again(one: House) -> None:
    channel, services = Channel(one), one.site.services
    about = HEAD.replace("steps:", 'personal: {subject: "{{ inputs.folder }}"}\nsteps:')
    run = one.open(about + tell(target="#ops", text="Somebody has paid") + work("last"))
    performed(one, run, "tell")
    one.ends(run)
    assert channel.new() == [("#ops", "Somebody has paid")]
    forget(services.database, Vault(lambda: MASTER), str(one.folder), by="officer", artifacts=services.artifacts)
    epoch = one.restart(run, "tell")
    performed(one, run, "tell", epoch=epoch)
    assert channel.new() == []
