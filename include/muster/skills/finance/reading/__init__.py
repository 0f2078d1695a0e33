"""Reading an invoice from the formats it arrives in: UBL, CII, hybrid PDF and plain PDF."""

from __future__ import annotations

from muster.skills.finance.invoice import ReadInvoice
from muster.skills.registry import SkillContext, skill


@skill("finance.read_invoice", timeout=120)
def read_invoice(uri: str, context: SkillContext) -> ReadInvoice:
    """Read an invoice from a file, whatever its format; it is told by its content, not by its name.

    Raises:
        SetAside: the file cannot be read as an invoice; its findings say why.
    """
    from muster.skills.finance.reading.document import read_document
    from muster.skills.finance.reading.source import content_of

    return read_document(content_of(uri, context.documents), uri)
