"""Code lists the finance skills share."""

from __future__ import annotations

_CURRENCIES = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP
LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB
PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB
TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XAG XAU XBA XBB XBC
XBD XCD XCG XDR XOF XPD XPF XPT XSU XTS XUA XXX YER ZAR ZMW ZWG
"""

CURRENCIES = frozenset(_CURRENCIES.split())
"""ISO 4217 alphabetic codes in use."""

CREDIT_NOTE_TYPES = frozenset({"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"})
"""UNTDID 1001 codes under which the amounts are owed to the buyer."""

CREDIT_TRANSFER_MEANS = frozenset({"30", "58"})
"""UNTDID 4461 codes that cannot be carried out without an account."""

_INVOICE_TYPES = """
71 80 82 84 102 130 202 203 204 211 218 219 295 325 326 331 380 382 383 384 385 386 387 388 389 390 393 394
395 456 457 502 503 527 553 575 623 633 751 780 817 870 875 876 877 935
"""

INVOICE_TYPES = CREDIT_NOTE_TYPES | frozenset(_INVOICE_TYPES.split())
"""UNTDID 1001 codes the standard admits for a document."""

PAYMENT_MEANS = frozenset(str(code) for code in [*range(1, 71), *range(74, 79), *range(91, 99)]) | {"ZZZ"}
"""UNTDID 4461."""

VAT_CATEGORIES = frozenset({"S", "Z", "E", "AE", "K", "G", "O", "L", "M", "B"})
"""UNCL 5305, the standard's selection."""

TAX_POINT_CODES = frozenset({"3", "35", "432"})
"""UNTDID 2005, the standard's selection."""

_ALLOWANCE_REASONS = "41 42 60 62 63 64 65 66 67 68 70 71 79 80 88 95 100 102 103 104 105"

ALLOWANCE_REASONS = frozenset(_ALLOWANCE_REASONS.split())
"""UNCL 5189."""

ATTACHMENT_TYPES = frozenset(
    {
        "application/pdf",
        "image/png",
        "image/jpeg",
        "text/csv",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.oasis.opendocument.spreadsheet",
        # XRechnung's extension lets XML travel too.
        "application/xml",
        "text/xml",
    }
)
"""Media types of embedded documents."""

_COUNTRIES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY
BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK
FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR
IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK
ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM
PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF
TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW 1A XI
"""

COUNTRIES = frozenset(_COUNTRIES.split())
"""ISO 3166-1 alpha-2, with 1A (Kosovo) and XI (Northern Ireland), which the standard admits."""
