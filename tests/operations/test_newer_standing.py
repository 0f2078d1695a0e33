"""What a run has done and what stands of it binds the version that it goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.operations.newer import Version
from muster.operations.redoing import Plan, order, plan_restart
from support.runs import Site

SKILLS = '''
from pathlib import Path

from muster.errors import PermanentError
from muster.skills import SkillContext, skill


def said(folder: str, word: str) -> None:
    with (Path(folder) / "calls").open("a") as out:
        out.write(word + "\\\\n")


@skill("w.do")
def do(name: str, folder: str) -> str:
    """Does something."""
    if (Path(folder) / f"{name}.broken").exists():
        raise PermanentError(f"{name} is broken")
    said(folder, f"do {name}")
    return name


@skill("w.lose")
def lose(folder: str, context: SkillContext) -> None:
    """Charges, and nobody hears of it."""
    def gone() -> None:
        said(folder, "charge")
        raise ConnectionError("no answer")
    context.effect("transfer", request={}).perform(gone)


@skill("w.charge")
def charge(name: str, folder: str, context: SkillContext) -> None:
    """Charges; it can be undone by nothing."""
    context.effect("transfer", request={}).perform(lambda: said(folder, "charge"))


@skill("w.undo")
def undo(name: str, folder: str) -> None:
    """Undoes it."""
    said(folder, f"undo {name}")
'''.replace("\\\\", "\\")
FOLDER = 'folder: "{{ inputs.folder }}"'
HEAD = """automation: tested
settings: {account: old, limit: 1000, places: [a, b, c]}
inputs: {folder: {type: string}, amount: {type: integer, default: 500}, orders: {type: array, default: [a, b, c]}}
steps:
"""


def do(id: str, name: str = "", more: str = "", undone: str | None = None) -> str:
    """A step that does something; with `undone` it can be undone."""
    name = name or id
    compensate = f', compensate: {{skill: w.undo, with: {{name: "{undone}", {FOLDER}}}}}' if undone else ""
    return f'  - {{id: {id}, skill: w.do, with: {{name: "{name}", {FOLDER}}}{more}{compensate}}}\n'


PAY = do("pay", "{{ item }}", ', each: "{{ inputs.orders }}"', "{{ item }}")
BOOK = do("book", "{{ item }}", ', each: "{{ settings.places }}"', "{{ item }}")
MAIL = do("mail", "mail {{ item }}", ', each: "{{ settings.places }}"')
SEND = '  - {id: ok, human: {ask: "Send?", assignees: [bob]}}\n' + do("send", more=", irreversible: true, after: [ok]")
CHOOSE = "  - {id: choose, branch: [{when: true, to: [last]}, {to: [small]}]}\n"
SMALL = do("small", more=", after: [choose]")
ASK = '  - {id: ok, human: {ask: "Pay 10?", assignees: [bob]}}\n'
CARD = f"fallback: {{skill: w.do, with: {{name: card, {FOLDER}}}}}"
LOSE = f"  - {{id: last, skill: w.lose, with: {{{FOLDER}}}, retry: {{times: 0}}, {CARD}}}\n"
CHARGE = f"  - {{id: pay, skill: w.charge, with: {{name: pay, {FOLDER}}}}}\n"
LARGE = '  - {id: ok, when: "{{ inputs.amount > settings.limit }}", human: {ask: "Pay?", assignees: [bob]}}\n'
PAID = do("last", more=", after: [ok]") + do("send", more=", irreversible: true, after: [last]")
LAST = do("last")
AFTER = do("last", more=", after: [choose]")


class House:
    """A site, and what really happened there."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder / "marks"
        self.folder.mkdir()
        self.site = Site(folder, database)
        self.site.skills("w", SKILLS)

    def failed(self, steps: str, *, undone: bool = False, asked: bool = True, **inputs: Any) -> str:
        """A run whose last step is broken, and mended afterwards; closed, and undone before that or not."""
        (self.folder / "last.broken").touch()
        definition = self.site.definition(HEAD + steps)
        run = self.site.open(definition, folder=str(self.folder), **inputs)
        for step in definition.steps:
            if step.asks and asked:
                self.site.approve(run, step.id, by="bob")
            else:
                self.site.all_of(run, step.id)
        if undone:
            self.site.unwind(run)
        self.site.close(run)
        (self.folder / "last.broken").unlink()
        return run

    def plan(self, run: str, step: str, source: str) -> Plan:
        now = Version(self.site.definition(source), "v2")
        services = self.site.services
        return plan_restart(services.log, services.definitions, run, step, by="ada", now=now)

    def called(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def house(tmp_path: Path, database: Database) -> House:
    """The site."""
    return House(tmp_path, database)


ANEW = "Once the run has been undone"


@pytest.mark.parametrize(
    ("steps", "step", "old", "new", "said", "remedy"),
    [
        pytest.param(
            PAY + LAST,
            "pay",
            "inputs.orders }}",
            "inputs.orders | reverse }}",
            "Step pay of RUN was done and stands, and its each",
            ANEW,
            id="items in the place of others",
        ),
        pytest.param(
            BOOK + LAST, "last", "[a, b, c]}", "[c, d]}", "is not done again, and its setting places", ANEW, id="a list"
        ),
        pytest.param(
            MAIL + LAST,
            "last",
            "[a, b, c]}",
            "[c]}",
            "its setting places was changed",
            "--from mail",
            id="a list alone",
        ),
        pytest.param(
            do("book", undone="{{ settings.account }}") + LAST,
            "last",
            "account: old",
            "account: new",
            "its setting account was changed",
            ANEW,
            id="what undoes it is given",
        ),
        pytest.param(
            do("book", undone="book") + LAST,
            "book",
            'w.undo, with: {name: "book"',
            'w.undo, with: {name: "other"',
            "its compensate was changed",
            ANEW,
            id="what undoes it",
        ),
        pytest.param(
            do("book", more=", lock: [till]", undone="book") + LAST,
            "last",
            "lock: [till]",
            "lock: [drawer]",
            "its lock was changed",
            ANEW,
            id="a lock",
        ),
        pytest.param(
            do("book", undone="book") + SEND + LAST,
            "last",
            ", irreversible: true",
            "",
            "Step send of RUN is not done again, and its irreversible was changed.",
            ANEW,
            id="what nothing undoes",
        ),
        pytest.param(
            LOSE,
            "last",
            "w.lose, with: {",
            "w.do, with: {name: b, ",
            "Step last of RUN was done and stands",
            ANEW,
            id="in doubt",
        ),
        pytest.param(
            CHARGE + LAST, "pay", "skill: w.charge", "skill: w.do", "and its skill was changed", ANEW, id="an effect"
        ),
        pytest.param(
            ASK + LAST,
            "last",
            "Pay 10?",
            "Pay 99?",
            "Step ok of RUN is not done again",
            "--from ok",
            id="another question",
        ),
        pytest.param(
            do("a", undone="a") + do("b", undone="b", more=", after: [a]") + do("last", more=", after: [a, b]"),
            "last",
            do("a", undone="a") + do("b", undone="b", more=", after: [a]"),
            do("b", undone="b", more=", after: []") + do("a", undone="a", more=", after: [b]"),
            "Step a of RUN came before b, and does not now",
            "in which they were done",
            id="the order",
        ),
        pytest.param(
            do("a") + LAST,
            "last",
            "inputs: {",
            'personal: {subject: "{{ inputs.folder }}"}\ninputs: {',
            "RUN is about nobody, other than tested now",
            "new run",
            id="about somebody",
        ),
        pytest.param(
            CHOOSE + AFTER + SMALL,
            "last",
            "to: [last]}",
            "to: [last, small]}",
            "Step choose of RUN is not done again, and its branch was changed.",
            "--from choose",
            id="another way",
        ),
    ],
)
def test_what_stands_is_neither_read_nor_undone_in_another_way(
    house: House, steps: str, step: str, old: str, new: str, said: str, remedy: str
) -> None:
    run = house.failed(steps)
    before, source = house.site.state(run).version, HEAD + steps
    assert old in source
    with pytest.raises(PermanentError) as raised:
        house.plan(run, step, source.replace(old, new))
    assert said.replace("RUN", run) in raised.value.message
    assert remedy in (raised.value.remedy or "")
    assert house.site.state(run).version == before


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [("> settings.limit", "> 100", "when"), ("limit: 1000", "limit: 100", "setting limit")],
)
def test_that_nobody_had_to_be_asked_does_not_stand_where_somebody_would_be_now(
    house: House, old: str, new: str, what: str
) -> None:
    run, source = house.failed(LARGE + PAID, asked=False), HEAD + LARGE + PAID
    assert house.site.state(run).step("ok").status == "skipped"
    with pytest.raises(PermanentError) as raised:
        house.plan(run, "last", source.replace(old, new))
    assert f"Step ok of {run} was not done before, and its {what} was changed" in raised.value.message
    assert f"`muster restart {run} --current --from ok`" in (raised.value.remedy or "")
    made = house.plan(run, "ok", source.replace(old, new))
    assert made.steps == ("ok", "last", "send")
    assert house.plan(run, "last", source.replace('name: "last"', 'name: "final"')).steps == ("last", "send")


def test_what_was_left_out_and_may_be_due_now_is_looked_at_again(house: House) -> None:
    steps = do("a") + do("last", more=", after: [a]") + do("mail", more=", after: [last]")
    run = house.failed(steps)
    made = house.plan(run, "last", (HEAD + steps).replace("after: [last]", "after: [a]"))
    assert made.also == {"mail": "was not done before, and its after was changed"}
    order(house.site.services.log, made)
    for step in made.steps:
        house.site.all_of(run, step, epoch=1)
    assert house.site.close(run, epoch=1).status == "succeeded"
    assert house.called() == ["do a", "do last", "do mail"]


SCREEN = do("screen", "screen {{ item }}", ', each: "{{ inputs.orders }}", when: "{{ item > settings.limit }}"')
EACH = SCREEN + do("pay", "{{ item }}", ', each: "{{ inputs.orders }}", after: [screen]')


@pytest.mark.parametrize(
    ("old", "new", "what"), [("> settings.limit", "> 100", "when"), ("limit: 1000", "limit: 100", "setting limit")]
)
def test_nor_does_it_stand_of_single_items_of_a_list(house: House, old: str, new: str, what: str) -> None:
    steps = EACH + do("last", more=", after: [pay]")
    run, source = house.failed(steps, orders=[500, 2000]), HEAD + steps
    assert house.called()[0] == "do screen 2000"
    with pytest.raises(PermanentError) as raised:
        house.plan(run, "last", source.replace(old, new))
    assert f"Step screen of {run} was not done for all items before, and its {what}" in raised.value.message
    assert house.plan(run, "last", source.replace('name: "last"', 'name: "final"')).steps == ("last",)


def test_a_list_in_which_nothing_was_is_no_single_step_later(house: House) -> None:
    run, source = house.failed(PAY + LAST, orders=[]), HEAD + PAY + LAST
    with pytest.raises(PermanentError, match="has begun as a list, and is one step now"):
        house.plan(run, "pay", source.replace(', each: "{{ inputs.orders }}"', "").replace("{{ item }}", "pay"))


def test_once_it_is_undone_it_is_done_anew_with_the_other_list(house: House) -> None:
    run = house.failed(PAY + LAST, undone=True)
    assert sorted(house.called()) == ["do a", "do b", "do c", "undo a", "undo b", "undo c"]
    made = house.plan(run, "pay", (HEAD + PAY + LAST).replace("inputs.orders }}", "inputs.orders[1:] }}"))
    order(house.site.services.log, made)
    for step in ("pay", "last"):
        house.site.all_of(run, step, epoch=1)
    assert house.called()[6:] == ["do b", "do c", "do last"]


def test_a_skill_that_was_mended_is_another_version_though_the_yaml_is_the_same(house: House) -> None:
    run, source = house.failed(do("a") + LAST), HEAD + do("a") + LAST
    services = house.site.services
    made = house.plan(run, "last", source)
    assert made.version_now is None, "this run has no version of a bundle"
    order(services.log, house.plan(run, "last", source.replace("id: last", "id: last, title: Other")))
    house.site.all_of(run, "last", epoch=1)
    house.site.close(run, epoch=1)
    now = Version(house.site.definition(source.replace("id: last", "id: last, title: Other")), "v3")
    made = plan_restart(services.log, services.definitions, run, "last", by="ada", now=now)
    assert made.version_now == now
    order(services.log, made)
    assert house.site.state(run).bundle_version == "v3"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("id: last", "id: last, title: Otherwise", id="a title"),
        pytest.param('name: "last"', 'name: "final"', id="what failed"),
        pytest.param('w.do, with: {name: "{{ item }}"', 'w.do, with: {name: "other {{ item }}"', id="what is not done"),
    ],
)
def test_what_does_not_touch_it_may_be_changed(house: House, old: str, new: str) -> None:
    run = house.failed(PAY + LAST)
    source = HEAD + PAY + LAST
    assert old in source
    made: Any = house.plan(run, "last", source.replace(old, new))
    order(house.site.services.log, made)
    assert house.site.all_of(run, "last", epoch=1)[0].status == "succeeded"
