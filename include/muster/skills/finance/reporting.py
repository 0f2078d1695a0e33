"""The report of a run: what happened to every invoice, for people (HTML) and for machines (JSON)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from muster.files import write_whole
from muster.skills.finance.casefile import Case, CaseFile, Fate, Stages, gather
from muster.skills.finance.policy import policy_of
from muster.skills.finance.register import file_name
from muster.skills.registry import SkillContext, skill

if TYPE_CHECKING:
    from jinja2 import Template

FATES: dict[Fate, str] = {
    "posted": "posted",
    "already_posted": "posted before",
    "rejected": "rejected",
    "set_aside": "set aside",
    "failed": "failed",
    "open": "not finished",
}
"""Every end an invoice can come to, in words."""


class RunReport(BaseModel):
    """The report itself: what `report.json` holds."""

    run: str
    company: str | None
    created_at: datetime
    requested_by: str | None
    counts: dict[Fate, int]
    """How many invoices came to which end."""
    posted: dict[str, Decimal]
    """Gross amount posted by this run, by currency; credit notes count against it."""
    file: CaseFile


class Report(BaseModel):
    """Where the report is, and its figures."""

    html: str
    """Its path."""
    json_file: str
    """The same for machines."""
    received: int
    posted: int
    already_posted: int
    rejected: int
    set_aside: int
    failed: int
    amounts: dict[str, Decimal]
    """Gross amount posted by this run, by currency."""
    payment_file: str | None
    """The newest payment file's name in the same folder."""
    payment_total: Decimal
    """In euros, of all payment files."""
    payment_files: list[str] = []
    """All of them: one more each time the run was done again with something to pay."""


@skill("finance.report", lane="worker")
def report(
    context: SkillContext,
    read: str = "read",
    vet: str = "vet",
    code: str = "code",
    match: str = "match",
    approve: str = "approve",
    post: str = "post",
    pay: str = "pay",
) -> Report:
    """Write `report.html` and `report.json` into the run's workspace from what the log says happened.

    The arguments name the steps of the automation, where they are called otherwise.
    """
    stages = Stages(read=read, vet=vet, code=code, match=match, approve=approve, post=post, pay=pay)
    file = gather(context.database, context.run, stages)
    company = policy_of(context.settings).company
    content = RunReport(
        run=context.run,
        company=company.name if company else None,
        created_at=context.now,
        requested_by=file.requested_by,
        counts=dict(Counter(case.fate for case in file.cases)),
        posted=_amounts(file.cases),
        file=file,
    )
    html, json_file = context.workspace / "report.html", context.workspace / "report.json"
    write_whole(json_file, content.model_dump_json(indent=2))
    write_whole(html, render(content))
    return _summary(content, html, json_file)


def render(content: RunReport) -> str:
    """The report as one HTML page that loads nothing from anywhere; everything in it is escaped."""
    return _template().render(report=content, cases=content.file.cases, payment=content.file.payment, fates=FATES)


def _summary(content: RunReport, html: Path, json_file: Path) -> Report:
    counts, payment = content.counts, content.file.payment
    return Report(
        html=str(html),
        json_file=str(json_file),
        received=len(content.file.cases),
        posted=counts.get("posted", 0),
        already_posted=counts.get("already_posted", 0),
        rejected=counts.get("rejected", 0),
        set_aside=counts.get("set_aside", 0),
        failed=counts.get("failed", 0),
        amounts=content.posted,
        payment_file=payment.file if payment else None,
        payment_total=payment.total if payment else Decimal(0),
        payment_files=[file.file for file in payment.files] if payment else [],
    )


def _amounts(cases: Iterable[Case]) -> dict[str, Decimal]:
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    for case in cases:
        if case.fate == "posted" and case.gross is not None and case.currency is not None:
            amounts[case.currency] += -case.gross if case.is_credit_note else case.gross
    return dict(amounts)


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"money": _money, "day": _day, "name": file_name}
    return environment.from_string((files(__package__) / "report.html").read_text(encoding="utf-8"))


def _money(amount: Decimal | None, currency: str | None = None) -> str:
    if amount is None:
        return "–"
    return f"{amount:,.2f} {currency}" if currency else f"{amount:,.2f}"


def _day(value: date | None) -> str:
    return "–" if value is None else f"{value.day} {value:%b %Y}"
