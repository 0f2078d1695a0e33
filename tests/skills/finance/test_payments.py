"""Promises of payment: the file is valid, nobody is paid twice, and what is not paid is explained."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from lxml import etree

from muster.database import Database
from muster.errors import PermanentError
from muster.saga.resuming import resume
from muster.skills.finance import (
    PaymentProposal,
    Posting,
    Withdrawal,
    propose_payment,
    reverse_posting,
    withdraw_payment,
)
from muster.skills.finance.invoice import Invoice
from muster.skills.finance.policy import Company
from muster.skills.finance.sepa import NAMESPACE, SCHEMA, Transfer, credit_transfer, sepa_text
from muster.skills.registry import SkillContext
from support.bank import BankServer
from support.ledger import NOW, company, context, invoice, line, post
from support.runs import Site, place, started, undo_in_process
from support.sources import source_of
from support.waiting import eventually


@pytest.fixture
def ready(database: Database, tmp_path: Path) -> SkillContext:
    return company(database, tmp_path)


def paying(ready: SkillContext, folder: Path, run: str = "invoices/1", **changes: Any) -> SkillContext:
    return context(ready.database, folder, run, step="pay", index=None, **changes)


def document(proposal: PaymentProposal, context: SkillContext) -> etree._Element:
    assert proposal.file is not None
    root = etree.parse(context.workspace / proposal.file).getroot()
    schema = (files("sepaxml") / "schemas" / f"{SCHEMA}.xsd").read_bytes()
    etree.XMLSchema(etree.fromstring(schema)).assertValid(root)
    return root


def texts(root: etree._Element, path: str) -> list[str]:
    return [element.text or "" for element in root.iterfind(f".//p:{path}", NAMESPACE)]


def several(ready: SkillContext, folder: Path, number: int) -> list[Posting]:
    def content(index: int) -> Invoice:
        amount, due = f"{100 + index}.00", date(2026, 9, 30 - index)
        return invoice(line(net_amount=amount), number=f"RE/{index} & Co", due_date=due)

    return [post(context(ready.database, folder, index=index), content(index)) for index in range(number)]


def test_the_file_is_valid_and_its_sums_are_the_postings(ready: SkillContext, tmp_path: Path) -> None:
    postings = several(ready, tmp_path, 3)
    pay = paying(ready, tmp_path)
    proposal = propose_payment(postings, pay)
    root = document(proposal, pay)
    amounts = [Decimal(text) for text in texts(root, "InstdAmt")]
    assert amounts == [posting.due for posting in postings]
    assert proposal.total == sum(amounts) == Decimal(texts(root, "GrpHdr/p:CtrlSum")[0])
    assert texts(root, "GrpHdr/p:NbOfTxs") == ["3"]
    assert texts(root, "CdtrAcct//p:IBAN") == [posting.iban for posting in postings]
    assert texts(root, "Ustrd") == [f"RE/{index} + Co" for index in range(3)]
    assert texts(root, "Dbtr/p:Nm") == ["Nordlicht + Soehne"]


def test_each_is_paid_when_due_and_what_is_overdue_today(ready: SkillContext, tmp_path: Path) -> None:
    late = post(ready, invoice(number="A", due_date=date(2026, 9, 1)))
    early = post(context(ready.database, tmp_path, index=1), invoice(number="B", due_date=date(2026, 11, 1)))
    pay = paying(ready, tmp_path)
    proposal = propose_payment([late, early], pay)
    assert [payment.execution_date for payment in proposal.payments] == [NOW.date(), date(2026, 11, 1)]
    assert sorted(texts(document(proposal, pay), "ReqdExctnDt/p:Dt")) == ["2026-10-01", "2026-11-01"]


def test_the_same_work_again_writes_the_same_file(ready: SkillContext, tmp_path: Path) -> None:
    postings, pay = several(ready, tmp_path, 2), paying(ready, tmp_path)
    proposal = propose_payment(postings, pay)
    assert proposal.file is not None
    path = pay.workspace / proposal.file
    content = path.read_bytes()
    path.unlink()
    assert propose_payment(postings, pay) == proposal
    assert path.read_bytes() == content


def test_runs_that_pay_at_once_pay_each_posting_once(ready: SkillContext, tmp_path: Path) -> None:
    postings = several(ready, tmp_path, 5)
    start = Barrier(3)

    def pay(run: int) -> PaymentProposal:
        with ready.database.connection() as connection:
            connection.execute("SELECT 1")
        start.wait(30)
        return propose_payment(postings[:: 1 if run % 2 else -1], paying(ready, tmp_path, f"pay/{run}"))

    with ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(pay, run) for run in range(3)]
        proposals = [task.result() for task in tasks]
    assert sorted(len(proposal.payments) for proposal in proposals) == [0, 0, 5]
    assert sum(len(proposal.left_out) for proposal in proposals) == 10


def test_a_posting_given_twice_is_paid_once(ready: SkillContext, tmp_path: Path) -> None:
    posting = post(ready)
    proposal = propose_payment([posting, posting.model_copy(update={"already_posted": True})], paying(ready, tmp_path))
    assert len(proposal.payments) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"currency": "USD", "seller": {"name": "Acme Inc."}, "payment": None}, "USD"),
        ({"type_code": "381"}, "credit note"),
        ({"totals": {"net": "40", "vat": "7.6", "gross": "47.6", "due": "0"}}, "nothing is due"),
        ({"payment": {"means_code": "59"}}, "direct debit"),
        ({"payment": {"means_code": "48"}}, "card"),
        ({"payment": {"credit_transfers": [{"account": "DE40999999990000666666"}]}}, "no account"),
    ],
)
def test_what_is_not_paid_is_explained(
    ready: SkillContext, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    proposal = propose_payment([post(ready, invoice(**changes))], paying(ready, tmp_path))
    assert proposal.payments == []
    assert (proposal.file, proposal.total) == (None, Decimal(0))
    assert reason in proposal.left_out[0].reason


def test_what_was_reversed_is_not_paid(ready: SkillContext, tmp_path: Path) -> None:
    posting = post(ready)
    reverse_posting(ready, posting.id)
    assert propose_payment([posting], paying(ready, tmp_path)).left_out[0].reason == "it was reversed"


@pytest.mark.parametrize("iban", ["DE00999999990000200101", "TR330006100519786457841326", "nonsense"])
def test_an_account_nobody_can_transfer_to_is_left_out(ready: SkillContext, tmp_path: Path, iban: str) -> None:
    posting = post(ready).model_copy(update={"iban": iban})
    assert "SEPA" in propose_payment([posting], paying(ready, tmp_path)).left_out[0].reason


@pytest.mark.parametrize("settings", [{}, {"finance": {"company": {"name": "Nordlicht"}}}])
def test_without_a_payer_the_settings_are_asked_for(
    ready: SkillContext, tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(PermanentError, match="company"):
        propose_payment([post(ready)], paying(ready, tmp_path, settings=settings))


def test_nothing_to_pay_is_no_file(ready: SkillContext, tmp_path: Path) -> None:
    assert propose_payment([], paying(ready, tmp_path)).file is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Müller & Söhne", "Mueller + Soehne"),
        ("Łódź <script>", "Lodz script"),
        ("\x00\n", "NOTPROVIDED"),
        ("ж" * 200, "zh" * 35),
    ],
)
def test_texts_are_put_in_the_letters_banks_take(text: str, expected: str) -> None:
    assert sepa_text(text, 70) == expected


def test_the_same_transfers_make_the_same_bytes() -> None:
    transfer = Transfer(
        end_to_end_id="1",
        name="A",
        iban="DE02999999990000200101",
        amount=Decimal("1.10"),
        remittance="x",
        execution_date=NOW.date(),
    )
    payer = Company(name="B", iban="DE34999999990000100100")
    made = {credit_transfer(payer, [transfer], message_id="M-1", created=NOW) for _ in range(2)}
    assert len(made) == 1
    assert {"<MsgId>M-1</MsgId>", "<PmtInfId>M-1-1</PmtInfId>"} <= {line.strip() for line in made.pop().splitlines()}


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", "1000000000"])
def test_an_amount_no_bank_takes_is_refused(amount: str) -> None:
    transfer = Transfer(
        end_to_end_id="1", name="A", iban="DE02999999990000200101", amount=Decimal(amount), remittance="x",
        execution_date=NOW.date(),
    )  # fmt: skip
    with pytest.raises(PermanentError):
        credit_transfer(Company(name="B", iban="DE34999999990000100100"), [transfer], message_id="M", created=NOW)


def test_a_proposal_is_withdrawn_once_and_its_postings_can_be_proposed_again(
    ready: SkillContext, tmp_path: Path
) -> None:
    postings, pay = several(ready, tmp_path, 2), paying(ready, tmp_path)
    proposal = propose_payment(postings, pay)
    undo = replace(pay, key=f"{pay.key}/undo", undoes=pay.key)
    assert withdraw_payment(undo) == Withdrawal(message_ids=[proposal.message_id], payments=2)
    assert withdraw_payment(undo) == Withdrawal(message_ids=[], payments=0)
    assert [path.suffix for path in pay.workspace.iterdir() if path.stem == proposal.message_id] == [".withdrawn"]
    assert len(propose_payment(postings, paying(ready, tmp_path, run="invoices/2")).payments) == 2


def test_a_file_that_somebody_took_away_comes_back_the_same_or_under_another_name(
    ready: SkillContext, tmp_path: Path
) -> None:
    """It may be at the bank: only the step is done again, or the run was undone and begins anew a day later."""
    (first, late), pay = several(ready, tmp_path, 2), paying(ready, tmp_path)
    exported = str(propose_payment([first], pay).file)
    taken = (pay.workspace / exported).read_bytes()
    for changes in ({}, {"now": NOW + timedelta(days=1)}):
        (pay.workspace / exported).unlink()
        propose_payment([first, late], replace(pay, **changes))
        assert (pay.workspace / exported).read_bytes() == taken
    (pay.workspace / exported).unlink()
    withdrawn = withdraw_payment(replace(pay, key=f"{pay.key}/undo", undoes=pay.key))
    assert withdrawn.missing == [exported], "whoever calls it back at the bank learns which"
    anew = propose_payment([first, late], replace(pay, now=NOW + timedelta(days=1)))
    assert texts(document(anew, pay), "MsgId") == [anew.message_id]
    assert not (pay.workspace / exported).exists()
    assert len(anew.payments) == 2


@pytest.mark.parametrize("key", ["pay", "pay[2]"])
def test_what_a_person_has_undone_by_hand_is_paid_anew(ready: SkillContext, tmp_path: Path, key: str) -> None:
    """Its key is another one then, and what it wrote before is in the ledger: no compensation has taken it back."""
    postings, pay = several(ready, tmp_path, 2), replace(paying(ready, tmp_path), key=key)
    other = propose_payment(postings[:1], paying(ready, tmp_path, run="invoices/2"))
    files = [propose_payment(postings, pay).file]
    for number in (1, 2):
        again = propose_payment(postings, replace(pay, key=f"{key}~{number}", now=NOW + timedelta(days=number)))
        assert [payment.number for payment in again.payments] == [postings[1].number]
        files.append(again.file)
    assert len(set(files)) == 3
    assert [path.name for path in pay.workspace.glob("*.xml")] == files[-1:]
    rows = [message for _, message in stored(ready.database)]
    assert sorted(rows) == sorted(str(name).removesuffix(".xml") for name in (other.file, files[-1]))


def test_withdrawing_what_was_never_proposed_does_nothing(ready: SkillContext, tmp_path: Path) -> None:
    pay = paying(ready, tmp_path)
    assert withdraw_payment(replace(pay, undoes=pay.key)) == Withdrawal(message_ids=[], payments=0)


def stored(database: Database) -> list[tuple[str, str]]:
    """Each payment in the ledger's own words: the invoice and the file that pays it."""
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT i.number, m.message_id FROM finance.payments y JOIN finance.payment_proposals m"
            " ON m.id = y.proposal_id JOIN finance.invoices i ON i.posting_id = y.posting_id ORDER BY m.id, i.number"
        )
        return list(rows)


def test_what_is_in_no_file_yet_goes_into_another_one_when_the_work_is_done_again(
    ready: SkillContext, tmp_path: Path
) -> None:
    (first, late, third), pay = several(ready, tmp_path, 3), paying(ready, tmp_path)
    proposal = propose_payment([first, third], pay)
    before = (pay.workspace / str(proposal.file)).read_bytes()
    more = propose_payment([first, late, third], pay)
    assert (pay.workspace / str(proposal.file)).read_bytes() == before, "it may be at the bank already"
    assert [Decimal(text) for text in texts(document(more, pay), "InstdAmt")] == [late.due]
    assert [file.message_id for file in more.files] == [proposal.message_id, more.message_id]
    assert {payment.number: payment.file for payment in more.payments} == {
        first.number: proposal.file,
        third.number: proposal.file,
        late.number: more.file,
    }
    assert (more.total, more.left_out) == (first.due + late.due + third.due, [])
    assert propose_payment([first, late, third], pay) == more
    assert propose_payment([third], pay) == more, "what is in a file stays in it"
    assert [(posting, file) for posting, file in stored(ready.database)] == [
        (first.number, proposal.message_id),
        (third.number, proposal.message_id),
        (late.number, more.message_id),
    ]


def test_two_attempts_at_once_with_other_postings_pay_each_once(ready: SkillContext, tmp_path: Path) -> None:
    postings, pay = several(ready, tmp_path, 6), paying(ready, tmp_path)
    start = Barrier(3)

    def attempt(number: int) -> PaymentProposal:
        start.wait(30)
        return propose_payment(postings[number::3], pay)

    with ThreadPoolExecutor(3) as pool:
        for task in [pool.submit(attempt, number) for number in range(3)]:
            task.result()
    assert sorted(number for number, _ in stored(ready.database)) == [posting.number for posting in postings]
    assert len(propose_payment(postings, pay).files) == 3


def test_withdrawing_takes_back_every_file_of_the_work_and_no_other(ready: SkillContext, tmp_path: Path) -> None:
    postings, pay = several(ready, tmp_path, 3), paying(ready, tmp_path)
    other = propose_payment(postings[2:], paying(ready, tmp_path, run="invoices/2"))
    propose_payment(postings[:1], pay)
    proposal = propose_payment(postings, pay)
    undo = replace(pay, key=f"{pay.key}/undo", undoes=pay.key)
    withdrawn = withdraw_payment(undo)
    assert withdrawn == Withdrawal(message_ids=[file.message_id for file in proposal.files], payments=2)
    assert stored(ready.database) == [(postings[2].number, other.message_id)]
    assert sorted(path.name for path in pay.workspace.iterdir()) == sorted(
        f"{file.message_id}.withdrawn" for file in proposal.files
    )


STALLING = source_of(__file__, "payments_stalling")
WITHDRAWN = """automation: tested
inputs: {url: {type: string}, postings: {type: array}}
settings: {finance: {company: {name: Nordlicht, iban: DE34999999990000100100}}}
steps:
  - id: pay
    skill: stalling.pay
    with: {postings: "{{ inputs.postings }}"}
    compensate: {skill: stalling.withdraw, with: {url: "{{ inputs.url }}"}}
  - {id: work, skill: stalling.fail}
"""


def test_a_withdrawal_whose_place_was_taken_takes_no_file_away(
    ready: SkillContext, tmp_path: Path, database: Database, bank: BankServer
) -> None:
    postings = [posting.model_dump(mode="json") for posting in several(ready, tmp_path, 2)]
    site = Site(tmp_path, database)
    site.skills("stalling", STALLING)
    run = site.open(site.definition(WITHDRAWN), url=bank.url, postings=postings)
    file = site.services.workspace(run) / site.step(run, "pay").output["file"]
    site.step(run, "work")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    stalled = started(undo_in_process, *place(site), run)
    assert eventually(lambda: bank.charges["stalls"] == 1)
    # Its process was taken for dead, and the run was closed.
    site.close(run, {"unwind.pay": "failed"})
    is_done.set()
    stalled.join(60)
    assert (stalled.exitcode is not None, file.exists(), len(stored(database))) == (True, True, 2)
    resume(site.services.log, run, by="ann")
    site.unwind(run, epoch=1)
    site.close(run, epoch=1)
    assert (site.state(run).status, file.exists(), stored(database)) == ("compensated", False, [])
