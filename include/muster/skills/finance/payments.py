"""Paying what was posted: one file of SEPA credit transfers for a run, each invoice in one file only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from psycopg import Connection
from pydantic import BaseModel, ConfigDict

from muster.errors import PermanentError
from muster.files import write_whole
from muster.skills.finance.policy import policy_of
from muster.skills.finance.posting import Posting
from muster.skills.finance.sepa import LARGEST, Transfer, credit_transfer
from muster.skills.registry import SkillContext, skill


class Payment(BaseModel):
    """One transfer of a proposal."""

    model_config = ConfigDict(frozen=True)

    posting: int
    number: str
    """The invoice's."""
    supplier_name: str
    iban: str
    amount: Decimal
    """In euros."""
    execution_date: date
    end_to_end_id: str
    """The reference that comes back on the bank statement."""


class LeftOut(BaseModel):
    """An invoice that is not paid by this proposal."""

    model_config = ConfigDict(frozen=True)

    posting: int
    number: str
    reason: str


class PaymentProposal(BaseModel):
    """A file for the bank, for a person to release there."""

    model_config = ConfigDict(frozen=True)

    file: str | None
    """Its name in the run's workspace; None when there is nothing to pay."""
    message_id: str | None
    currency: str = "EUR"
    total: Decimal
    payments: list[Payment]
    left_out: list[LeftOut]


@skill("finance.propose_payment", lane="worker")
def propose_payment(postings: list[Posting], context: SkillContext) -> PaymentProposal:
    """Write a SEPA file (pain.001) that pays the postings on their due dates, today where that has passed.

    Left out, with the reason: what is not in euros, credit notes, what is paid by card or direct debit, what has no
    account, was reversed, or is in another proposal. Doing the same work again gives the same file.

    Raises:
        PermanentError: the settings do not say who pays, from which account.
    """
    key = f"{context.run}/{context.key}"
    postings = list({posting.id: posting for posting in postings}.values())
    with context.database.connection() as connection:
        _lock(connection, postings)
        proposal, document = _find(connection, key) or _propose(connection, postings, context, key)
    if proposal.file is not None and document is not None:
        write_whole(context.workspace / proposal.file, document)
    return proposal


class Withdrawal(BaseModel):
    """A proposal that is no longer one."""

    model_config = ConfigDict(frozen=True)

    message_id: str | None
    """The file's; None when there was none."""
    payments: int
    """How many payments it held."""


@skill("finance.withdraw_payment", lane="worker")
def withdraw_payment(context: SkillContext) -> Withdrawal:
    """Take back the payment file that the undone work wrote, if it ever did; its postings can be proposed again.

    The file in the run's workspace is renamed, so that nobody releases it by mistake. What a person has released
    at the bank already has to be called back there.
    """
    with context.database.connection() as connection:
        row = connection.execute(
            "SELECT id, message_id FROM finance.payment_proposals WHERE key = %s FOR UPDATE",
            (f"{context.run}/{context.undoes}",),
        ).fetchone()
        if row is None:
            return Withdrawal(message_id=None, payments=0)
        deleted = connection.execute("DELETE FROM finance.payments WHERE proposal_id = %s", (row[0],))
        connection.execute("DELETE FROM finance.payment_proposals WHERE id = %s", (row[0],))
        file = context.workspace / f"{row[1]}.xml"
        if file.exists():
            file.rename(file.with_suffix(".withdrawn"))
    return Withdrawal(message_id=row[1], payments=deleted.rowcount)


def _lock(connection: Connection[Any], postings: Sequence[Posting]) -> None:
    # In one order, so that two proposals over the same postings queue instead of deadlocking.
    connection.execute(
        "SELECT FROM finance.postings WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
        ([posting.id for posting in postings],),
    )


def _find(connection: Connection[Any], key: str) -> tuple[PaymentProposal, str] | None:
    row = connection.execute("SELECT result, document FROM finance.payment_proposals WHERE key = %s", (key,)).fetchone()
    return None if row is None else (PaymentProposal.model_validate(row[0]), row[1])


def _propose(
    connection: Connection[Any], postings: Sequence[Posting], context: SkillContext, key: str
) -> tuple[PaymentProposal, str | None]:
    left_out = list(_left_out(connection, postings))
    excluded = {one.posting for one in left_out}
    payments = [_payment(posting, context.now.date()) for posting in postings if posting.id not in excluded]
    if not payments:
        return PaymentProposal(file=None, message_id=None, total=Decimal(0), payments=[], left_out=left_out), None
    company = policy_of(context.settings).company
    if company is None:
        raise PermanentError("The settings do not say who pays.", remedy="Set finance.company in settings.yaml.")
    message_id = f"MUSTER-{hashlib.sha256(key.encode()).hexdigest()[:20].upper()}"
    remittances = {posting.id: posting.remittance for posting in postings}
    transfers = [_transfer(payment, remittances[payment.posting]) for payment in payments]
    document = credit_transfer(company, transfers, message_id=message_id, created=context.now)
    total = sum((payment.amount for payment in payments), Decimal(0))
    proposal = PaymentProposal(
        file=f"{message_id}.xml", message_id=message_id, total=total, payments=payments, left_out=left_out
    )
    _store(connection, proposal, document, key)
    return proposal, document


def _left_out(connection: Connection[Any], postings: Sequence[Posting]) -> Iterator[LeftOut]:
    rows = connection.execute(
        """SELECT p.id, r.id, m.message_id FROM finance.postings p
             LEFT JOIN finance.postings r ON r.reverses = p.id
             LEFT JOIN finance.payments y ON y.posting_id = p.id
             LEFT JOIN finance.payment_proposals m ON m.id = y.proposal_id
            WHERE p.id = ANY(%s)""",
        ([posting.id for posting in postings],),
    )
    known = {posting: (reversal, message) for posting, reversal, message in rows}
    for posting in postings:
        reversal, message = known.get(posting.id, (None, None))
        reason = (
            "it is not in the ledger" if posting.id not in known
            else "it was reversed" if reversal is not None
            else f"it is in the payment file {message}" if message is not None
            else _not_payable(posting)
        )  # fmt: skip
        if reason is not None:
            yield LeftOut(posting=posting.id, number=posting.number, reason=reason)


def _not_payable(posting: Posting) -> str | None:
    if posting.currency != "EUR":
        return f"it is in {posting.currency}; SEPA pays euros only"
    if posting.due < 0:
        return "it is a credit note or overpaid, to be set off or paid back"
    if posting.due == 0:
        return "nothing is due"
    if posting.due > LARGEST:
        return "the amount is beyond what SEPA transfers"
    if posting.not_by_transfer:
        return f"it is {posting.not_by_transfer}"
    if posting.iban is None:
        return "no account to pay on is known"
    return None if _is_payable_account(posting.iban) else f"{posting.iban} is not an account within SEPA"


def _is_payable_account(iban: str) -> bool:
    from schwifty import IBAN
    from schwifty.exceptions import SchwiftyException

    try:
        return bool(IBAN(iban).in_sepa_zone)
    except SchwiftyException:
        return False


def _payment(posting: Posting, today: date) -> Payment:
    number = re.sub(r"[^A-Za-z0-9-]", "", posting.number)
    assert posting.iban is not None
    return Payment(
        posting=posting.id,
        number=posting.number,
        supplier_name=posting.supplier_name,
        iban=posting.iban,
        amount=posting.due,
        execution_date=max(posting.due_date, today),
        end_to_end_id=f"P{posting.id}-{number}"[:35],
    )


def _transfer(payment: Payment, remittance: str) -> Transfer:
    return Transfer(
        end_to_end_id=payment.end_to_end_id,
        name=payment.supplier_name,
        iban=payment.iban,
        amount=payment.amount,
        remittance=remittance,
        execution_date=payment.execution_date,
    )


def _store(connection: Connection[Any], proposal: PaymentProposal, document: str, key: str) -> None:
    row = connection.execute(
        """INSERT INTO finance.payment_proposals (key, message_id, currency, total, result, document)
           VALUES (%s, %s, %s, %s, %s, %s) RETURNING id""",
        (key, proposal.message_id, proposal.currency, proposal.total, proposal.model_dump_json(), document),
    ).fetchone()
    assert row is not None
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO finance.payments (posting_id, proposal_id, end_to_end_id, amount) VALUES (%s, %s, %s, %s)",
            [(payment.posting, row[0], payment.end_to_end_id, payment.amount) for payment in proposal.payments],
        )
