"""Finance: reading, checking, matching, posting and paying invoices."""

from __future__ import annotations

from muster.skills.finance.reading import read_invoice
from muster.skills.finance.rules import check_invoice

__all__ = ["check_invoice", "read_invoice"]
