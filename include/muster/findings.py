"""What a check found: one broken rule, where, and how bad it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Severity = Literal["error", "warning", "information"]


class Finding(BaseModel):
    """One broken or noteworthy rule."""

    model_config = ConfigDict(frozen=True)

    rule: str
    """The rule's own id, for example `BR-CO-10`, or Muster's (`MU-PDF-ENCRYPTED`) where no standard names one."""
    message: str
    """One sentence a clerk understands, with the values that disagree."""
    severity: Severity = "error"
    path: str | None = None
    """Where: a field path such as `lines[2].net_amount`, or an XPath in the source document."""
