"""Codes come from their lists: the BR-CL rules that matter for booking and paying."""

from __future__ import annotations

import re

from muster.skills.finance import codes
from muster.skills.finance.rules.rule import Rule, listed, parts, satisfies, whole

_COUNTRY = "{value!r} is not an ISO 3166-1 country code."
_CATEGORY = "{value!r} is not a VAT category of UNCL 5305."
# The lists of Recommendation 20 and 21 hold some two thousand codes, all of this shape.
_UNIT = re.compile(r"[A-Z0-9]{2,3}")


def _is_unit(code: str) -> bool:
    return _UNIT.fullmatch(code) is not None


RULES: tuple[Rule, ...] = (
    listed("BR-CL-01", whole, "type_code", codes.INVOICE_TYPES, "{value!r} is not a document type of UNTDID 1001."),
    listed("BR-CL-06", whole, "tax_point_code", codes.TAX_POINT_CODES, "{value!r} is not a tax point of UNTDID 2005."),
    *(
        listed("BR-CL-14", parts(f"{owner}.address"), "country", codes.COUNTRIES, _COUNTRY)
        for owner in ("seller", "buyer", "tax_representative", "delivery")
    ),
    listed("BR-CL-15", parts("lines.item"), "country_of_origin", codes.COUNTRIES, _COUNTRY),
    listed("BR-CL-16", parts("payment"), "means_code", codes.PAYMENT_MEANS, "{value!r} is no means of UNTDID 4461."),
    listed("BR-CL-17", parts("vat_breakdown"), "category", codes.VAT_CATEGORIES, _CATEGORY),
    listed("BR-CL-17", parts("allowances"), "vat_category", codes.VAT_CATEGORIES, _CATEGORY),
    listed("BR-CL-17", parts("charges"), "vat_category", codes.VAT_CATEGORIES, _CATEGORY),
    listed("BR-CL-18", parts("lines"), "vat_category", codes.VAT_CATEGORIES, _CATEGORY),
    *(
        listed("BR-CL-19", parts(path), "reason_code", codes.ALLOWANCE_REASONS, "{value!r} is no reason of UNCL 5189.")
        for path in ("allowances", "lines.allowances")
    ),
    satisfies("BR-CL-23", parts("lines"), "unit", _is_unit, "{value!r} is not a unit of Recommendation 20 or 21."),
    listed("BR-CL-24", parts("attachments"), "mime_type", codes.ATTACHMENT_TYPES, "{value!r} may not be attached."),
)
