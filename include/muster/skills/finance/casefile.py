"""What became of each invoice of a run, gathered from the run's own events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType
from muster.events.payloads.base import OfWork, payload_of
from muster.events.payloads.runs import RunOpened
from muster.events.payloads.work import StepFailed, StepSetAside, StepSkipped, StepSucceeded
from muster.findings import Finding
from muster.skills.finance.codes import CREDIT_NOTE_TYPES
from muster.skills.finance.ledger import Entry
from muster.skills.finance.matching import Discrepancy
from muster.skills.finance.payments import PaymentProposal
from muster.skills.finance.posting import Posting

Fate = Literal["posted", "already_posted", "rejected", "set_aside", "failed", "open"]

_TYPES = (
    EventType.RUN_OPENED,
    EventType.STEP_SUCCEEDED,
    EventType.STEP_FAILED,
    EventType.STEP_SKIPPED,
    EventType.STEP_SET_ASIDE,
)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Which step of the automation does what; a step that does not exist is passed over."""

    read: str = "read"
    vet: str = "vet"
    code: str = "code"
    match: str = "match"
    approve: str = "approve"
    post: str = "post"
    pay: str = "pay"


class Decision(BaseModel):
    """What a person, or the silence of one, decided."""

    approved: bool
    by: str | None = None
    how: str
    """`person`, `timeout` or `refused` (the requester's own approval)."""
    note: str | None = None


class Coded(BaseModel):
    """Where a line went, and who said so."""

    line: str
    cost_centre: str
    confidence: Decimal
    reason: str


class Case(BaseModel):
    """One invoice from its arrival to its end."""

    position: int
    """In the run's list of invoices."""
    source: str
    fate: Fate = "open"
    stopped_at: str | None = None
    """The step it was set aside or failed in."""
    reason: str | None = None
    """Why it went no further."""
    format: str | None = None
    number: str | None = None
    supplier: str | None = None
    is_credit_note: bool = False
    issue_date: date | None = None
    net: Decimal | None = None
    vat: Decimal | None = None
    gross: Decimal | None = None
    currency: str | None = None
    findings: list[Finding] = []
    order: str | None = None
    match: str | None = None
    """`two_way`, `three_way` or `none`."""
    discrepancies: list[Discrepancy] = []
    coding: list[Coded] = []
    coded_by: str | None = None
    """What made the coding: a model by name, or `rules`."""
    decision: Decision | None = None
    posting: int | None = None
    entries: list[Entry] = []
    due: Decimal | None = None
    paid_on: date | None = None
    """When a payment file of the run pays it; None when none does."""
    unpaid_because: str | None = None


class CaseFile(BaseModel):
    """Every case of a run, and the payment that came of it."""

    cases: list[Case]
    payment: PaymentProposal | None = None
    requested_by: str | None = None


def gather(database: Database, run: str, stages: Stages) -> CaseFile:
    """Read the run's events once and keep of each invoice what a reader of the report wants to know."""
    file = CaseFile(cases=[])
    by_step = {getattr(stages, field.name): field.name for field in fields(stages)}
    for event in EventLog(database).read(run, types=_TYPES):
        said = payload_of(event)
        if isinstance(said, RunOpened):
            _open(file, said)
        elif isinstance(said, OfWork) and (stage := by_step.get(said.step)) is not None:
            if stage == "pay" and isinstance(said, StepSucceeded):
                file.payment = PaymentProposal.model_validate(said.output)
            elif said.index is not None:
                _take(_case(file, said.index), stage, said)
    if file.payment is not None:
        _pay(file.cases, file.payment)
    return file


def _open(file: CaseFile, said: RunOpened) -> None:
    file.requested_by = said.requested_by
    for index, source in enumerate((said.inputs or {}).get("invoices") or []):
        _case(file, index).source = str(source)


def _case(file: CaseFile, index: int) -> Case:
    while len(file.cases) <= index:
        file.cases.append(Case(position=len(file.cases), source=""))
    return file.cases[index]


def _take(case: Case, stage: str, said: OfWork) -> None:
    match said:
        case StepSucceeded():
            if case.stopped_at == said.step:
                # A person cleared the run, and this time it worked.
                case.fate, case.stopped_at, case.reason = "open", None, None
            _SUCCEEDED[stage](case, said.output, said.produced_by)
        case StepSkipped(reason="rejected"):
            case.fate = "rejected"
        case StepSetAside() | StepFailed():
            case.fate = "set_aside" if isinstance(said, StepSetAside) else "failed"
            case.stopped_at, case.reason = said.step, said.error.message
            if isinstance(said, StepSetAside) and said.findings:
                case.findings = [Finding.model_validate(finding) for finding in said.findings]


def _read(case: Case, output: Mapping[str, Any], by: str | None) -> None:
    invoice = output["invoice"]
    totals = invoice["totals"]
    case.source, case.format = output["source"], output["format"]
    case.number, case.supplier = invoice["number"], invoice["seller"]["name"]
    case.is_credit_note = invoice["type_code"] in CREDIT_NOTE_TYPES
    case.issue_date, case.currency = _date(invoice["issue_date"]), invoice["currency"]
    case.net, case.vat, case.gross = (_decimal(totals[name]) for name in ("net", "vat", "gross"))
    case.findings = [Finding.model_validate(finding) for finding in output["findings"]]


def _code(case: Case, output: Mapping[str, Any], by: str | None) -> None:
    case.coding = [Coded.model_validate(line) for line in output["lines"]]
    case.coded_by = by


def _match(case: Case, output: Mapping[str, Any], by: str | None) -> None:
    case.order, case.match = output["order"], output["kind"]
    case.discrepancies = [Discrepancy.model_validate(discrepancy) for discrepancy in output["discrepancies"]]


def _approve(case: Case, output: Mapping[str, Any], by: str | None) -> None:
    case.decision = Decision.model_validate(output)
    case.fate = "open" if case.decision.approved else "rejected"


def _post(case: Case, output: Mapping[str, Any], by: str | None) -> None:
    posting = Posting.model_validate(output)
    case.fate = "already_posted" if posting.already_posted else "posted"
    case.posting, case.entries, case.due = posting.id, posting.entries, posting.due
    case.supplier = posting.supplier_name


def _pay(cases: list[Case], payment: PaymentProposal) -> None:
    paid = {payment_of.posting: payment_of.execution_date for payment_of in payment.payments}
    left_out = {payment_of.posting: payment_of.reason for payment_of in payment.left_out}
    for case in cases:
        if case.posting is not None:
            case.paid_on, case.unpaid_because = paid.get(case.posting), left_out.get(case.posting)


def _date(value: str | None) -> date | None:
    return None if value is None else date.fromisoformat(value)


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


_SUCCEEDED = {"read": _read, "vet": _read, "code": _code, "match": _match, "approve": _approve, "post": _post}
