"""Finance: reading, checking, matching, posting and paying invoices."""

from __future__ import annotations

from muster.skills.finance.coding import CodedInvoice, CodedLine, HistoryCoding, code_by_history, list_cost_centres
from muster.skills.finance.duplicates import DuplicateCheck, find_duplicates
from muster.skills.finance.invoice import CheckedInvoice, Invoice, ReadInvoice
from muster.skills.finance.master import Loaded, load_master_data
from muster.skills.finance.matching import Discrepancy, OrderMatch, match_order
from muster.skills.finance.payments import PaymentFile, PaymentProposal, Withdrawal, propose_payment, withdraw_payment
from muster.skills.finance.posting import Posting, Reversal, post_to_ledger, reverse_posting
from muster.skills.finance.reading import read_invoice
from muster.skills.finance.reporting import Report, report
from muster.skills.finance.rules import check_invoice
from muster.skills.finance.suppliers import Supplier, SupplierCheck, check_supplier
from muster.skills.finance.vetting import VettedInvoice, vet_invoice

__all__ = [
    "CheckedInvoice",
    "CodedInvoice",
    "CodedLine",
    "Discrepancy",
    "DuplicateCheck",
    "HistoryCoding",
    "Invoice",
    "Loaded",
    "OrderMatch",
    "PaymentFile",
    "PaymentProposal",
    "Posting",
    "ReadInvoice",
    "Report",
    "Reversal",
    "Supplier",
    "SupplierCheck",
    "VettedInvoice",
    "Withdrawal",
    "check_invoice",
    "check_supplier",
    "code_by_history",
    "find_duplicates",
    "list_cost_centres",
    "load_master_data",
    "match_order",
    "post_to_ledger",
    "propose_payment",
    "read_invoice",
    "report",
    "reverse_posting",
    "vet_invoice",
    "withdraw_payment",
]
