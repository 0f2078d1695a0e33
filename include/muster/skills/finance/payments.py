"""Paying what was posted: files of SEPA credit transfers, each invoice in one of them only.

A run writes one file, and one more each time it is done again with something that is in no file yet: an invoice whose
posting came later. A file that is there may be at the bank already, so nothing is ever added to it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import Connection
from pydantic import BaseModel, ConfigDict

from muster.errors import PermanentError, TransientError
from muster.files import draft_of, remove_drafts, sync_folder
from muster.recovery.fencing import present
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
    file: str | None = None
    """Which file pays it; None where the log is from before there could be several."""


class LeftOut(BaseModel):
    """An invoice that is not paid by this proposal."""

    model_config = ConfigDict(frozen=True)

    posting: int
    number: str
    reason: str


class PaymentFile(BaseModel):
    """One file for the bank."""

    model_config = ConfigDict(frozen=True)

    file: str
    """Its name in the run's workspace."""
    message_id: str
    total: Decimal


class PaymentProposal(BaseModel):
    """What a run pays, in files for the bank, for a person to release there."""

    model_config = ConfigDict(frozen=True)

    file: str | None
    """The newest file's name in the run's workspace; None when there is nothing to pay."""
    message_id: str | None
    """The newest file's."""
    currency: str = "EUR"
    total: Decimal
    """Of all files."""
    payments: list[Payment]
    """Of all files."""
    left_out: list[LeftOut]
    files: list[PaymentFile] = []
    """All of them, in the order they were written; empty where the log is from before there could be several."""


@skill("finance.propose_payment", lane="worker")
def propose_payment(postings: list[Posting], context: SkillContext) -> PaymentProposal:
    """Write a SEPA file (pain.001) that pays the postings on their due dates, today where that has passed.

    Left out, with the reason: what is not in euros, credit notes, what is paid by card or direct debit, what has no
    account, was reversed, or is in another run's file. Doing the same work again gives the same file; with postings
    that are in no file yet it writes another one beside it. After a person undid it by hand it first takes back what it
    wrote then, as `withdraw_payment` does.

    Raises:
        PermanentError: the settings do not say who pays, from which account; or a proposal was withdrawn meanwhile.
    """
    key = f"{context.run}/{context.key}"
    for undone in _undone_before(context.key):
        _withdraw(context, undone)
    with context.database.connection() as connection:
        written = _written(connection, key)
        paid = {payment.posting for file in written for payment in file.proposal.payments}
        left = list({posting.id: posting for posting in postings if posting.id not in paid}.values())
        # Locked before it is checked what may be paid: a posting could be reversed, or proposed by another run, between
        # the check and the insert.
        _lock(connection, left)
        left_out = list(_left_out(connection, left))
        excluded = {omitted.posting for omitted in left_out}
        if due := [posting for posting in left if posting.id not in excluded]:
            written.append(_propose(connection, due, context, _part(key, len(written) + 1)))
    _write_files(written, key, context)
    return _together([file.proposal for file in written], left_out)


def _write_files(written: Sequence[_Written], key: str, context: SkillContext) -> None:
    # After the commit of the proposal: a process that died between the file and the commit would leave a file that the
    # ledger does not know.
    # The lock alone does not keep a withdrawal away until the files are there: it ends with the connection, which a
    # process that stalls may lose. So drafts are written first and renamed under the lock. A withdrawal that comes
    # after the check below removes the drafts before it commits: then the rename fails, and no withdrawn file appears.
    with ExitStack() as stack:
        paths = [_path(file, context) for file in written]
        drafts = [stack.enter_context(draft_of(path, file.document)) for path, file in zip(paths, written, strict=True)]
        connection = stack.enter_context(context.database.connection())
        still = {file.id for file in _written(connection, key)}
        if gone := [str(file.proposal.message_id) for file in written if file.id not in still]:
            raise PermanentError(
                f"The payments {', '.join(gone)} were withdrawn before their file was written: the run was undone.",
                remedy="Nothing is left to do. A restart of the run proposes the payments again.",
            )
        for draft, path in zip(drafts, paths, strict=True):
            try:
                draft.replace(path)
            except FileNotFoundError as error:
                # The draft is gone: another attempt removed it after writing the same file, or a withdrawal did.
                if not path.exists():
                    message = f"The payments {path.stem} are being withdrawn; no file was written."
                    raise TransientError(message) from error
            remove_drafts(path)  # Those of attempts that died before they renamed theirs.
        for folder in {path.parent for path in paths}:
            sync_folder(folder)


def _path(file: _Written, context: SkillContext) -> Path:
    return context.workspace / f"{file.proposal.message_id}.xml"


class Withdrawal(BaseModel):
    """A proposal that is no longer one."""

    model_config = ConfigDict(frozen=True)

    message_ids: list[str]
    """Of its files; empty when there was none."""
    payments: int
    """How many payments they held."""
    missing: list[str] = []
    """The files that lay in the run's workspace no more: somebody may have taken them to the bank."""


@skill("finance.withdraw_payment", lane="worker")
def withdraw_payment(context: SkillContext) -> Withdrawal:
    """Take back the payment files that the undone work wrote, if it ever did; their postings can be proposed again.

    The files in the run's workspace are renamed, so that nobody releases them by mistake. What a person has released
    at the bank already has to be called back there: the result names the files that are gone.
    """
    return _withdraw(context, str(context.undoes))


def _withdraw(context: SkillContext, key: str) -> Withdrawal:
    """Take back the files of a work item."""
    missing: list[str] = []
    with context.database.connection() as connection:
        written = _written(connection, f"{context.run}/{key}")
        for file in written:
            connection.execute("DELETE FROM finance.payments WHERE proposal_id = %s", (file.id,))
            connection.execute("DELETE FROM finance.payment_proposals WHERE id = %s", (file.id,))
        # A rename cannot be rolled back: a process whose place was taken over must be refused here, not at the commit.
        present(context.database, connection)
        for file in written:
            path = _path(file, context)
            # Drafts first: an attempt under way that renamed one later would bring the file back.
            remove_drafts(path)
            withdrawn = path.with_suffix(".withdrawn")
            if path.exists():
                path.rename(withdrawn)
            elif not withdrawn.exists():  # An earlier attempt may have renamed it already.
                missing.append(path.name)
    return Withdrawal(
        message_ids=[str(file.proposal.message_id) for file in written],
        payments=sum(len(file.proposal.payments) for file in written),
        missing=missing,
    )


def _undone_before(key: str) -> Iterator[str]:
    """The work's earlier keys, `pay[0]`, `pay[0]~1` ...: under them the ledger still has what people undid by hand."""
    first, _, number = key.partition("~")
    for earlier in range(int(number or 0)):
        yield f"{first}~{earlier}" if earlier else first


class _Written(NamedTuple):
    """A file as the database holds it."""

    id: int
    proposal: PaymentProposal
    """Of this file alone."""
    document: str


def _written(connection: Connection[Any], key: str) -> list[_Written]:
    """The files of a work item, in the order they were written, locked until the transaction ends."""
    # An advisory lock, because there may be no rows yet: two attempts that find none would both write the first file.
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"payments/{key}",))
    files: list[_Written] = []
    while row := connection.execute(
        "SELECT id, result, document FROM finance.payment_proposals WHERE key = %s", (_part(key, len(files) + 1),)
    ).fetchone():
        files.append(_Written(row[0], PaymentProposal.model_validate(row[1]), row[2]))
    return files


def _part(key: str, number: int) -> str:
    """The key of the work's file `number`; no step's name has a `#`, so it is no other work's key."""
    return key if number == 1 else f"{key}#{number}"


def _together(proposals: Sequence[PaymentProposal], left_out: list[LeftOut]) -> PaymentProposal:
    newest = proposals[-1] if proposals else None
    return PaymentProposal(
        file=newest.file if newest else None,
        message_id=newest.message_id if newest else None,
        total=sum((proposal.total for proposal in proposals), Decimal(0)),
        payments=[
            payment.model_copy(update={"file": proposal.file})
            for proposal in proposals
            for payment in proposal.payments
        ],
        left_out=left_out,
        files=[
            PaymentFile(file=str(proposal.file), message_id=str(proposal.message_id), total=proposal.total)
            for proposal in proposals
        ],
    )


def _lock(connection: Connection[Any], postings: Sequence[Posting]) -> None:
    # `reverse_posting` locks the same rows. If it is first, the posting is left out here; if the payment is first, the
    # reversal is refused. Ordered by id, so that two proposals over the same postings queue instead of deadlocking.
    connection.execute(
        "SELECT FROM finance.postings WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
        ([posting.id for posting in postings],),
    )


def _propose(connection: Connection[Any], postings: Sequence[Posting], context: SkillContext, key: str) -> _Written:
    company = policy_of(context.settings).company
    if company is None:
        raise PermanentError("The settings do not say who pays.", remedy="Set finance.company in settings.yaml.")
    payments = [_payment(posting, context.now.date()) for posting in postings]
    transfers = [_transfer(payment, posting.remittance) for payment, posting in zip(payments, postings, strict=True)]
    # The id is made of the content. A proposal after a withdrawal gets another id, so that it is not taken for the file
    # that somebody may have brought to the bank before.
    content = repr((key, company, transfers, context.now))
    message_id = f"MUSTER-{hashlib.sha256(content.encode()).hexdigest()[:20].upper()}"
    document = credit_transfer(company, transfers, message_id=message_id, created=context.now)
    total = sum((payment.amount for payment in payments), Decimal(0))
    proposal = PaymentProposal(
        file=f"{message_id}.xml", message_id=message_id, total=total, payments=payments, left_out=[]
    )
    return _Written(_store(connection, proposal, document, key), proposal, document)


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


def _store(connection: Connection[Any], proposal: PaymentProposal, document: str, key: str) -> int:
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
    return int(row[0])
