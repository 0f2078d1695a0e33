"""The audit trail of a run as one HTML page: nothing is loaded from elsewhere, and everything is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from html import escape
from typing import Any

from muster.events.audit import Line
from muster.events.costs import cost_in_words
from muster.events.model import EventType as T
from muster.events.projections import money

SHOWN = 4_000
"""Characters of an event's data on the page; the JSON lines have all."""

PEOPLE = frozenset(
    map(
        str,
        (
            T.APPROVAL_ANSWERED,
            T.RUN_CANCEL_REQUESTED,
            T.RUN_RESUMED,
            T.RUN_RESTARTED,
            T.DEAD_LETTER_REDRIVEN,
            T.DEAD_LETTER_DISCARDED,
        ),
    )
)
"""Events in which a person decided."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1b1f24 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1.5rem }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #d8dee4 }
td, dd { overflow-wrap: anywhere; margin: 0 } dt { color: #57606a }
pre { white-space: pre-wrap; background: #f6f8fa; padding: .5rem; margin: .25rem 0; font-size: 12px }
.fault { background: #ffebe9; border-left: 4px solid #cf222e; padding: .5rem 1rem } .ok { color: #1a7f37 }
td.number { text-align: right; font-variant-numeric: tabular-nums }
"""


def page(lines: Iterable[Line], key: str) -> Iterator[str]:
    """The page, part by part; `key` is the fingerprint of the key that signed the lines."""
    costs: dict[tuple[str, str], list[object]] = {}
    decisions: list[list[object]] = []
    rows: list[str] = []
    head: Line = {}
    end: Line = {}
    for line in lines:
        if line["line"] == "run":
            head = line
        elif line["line"] == "end":
            end = line
        else:
            rows.append(_event(line))
            _add(costs, line)
            if line["what"] in PEOPLE:
                decisions.append([line["when"], line["who"], line["what"], _where(line), _decided(line)])
    yield _opening(head, end, key)
    yield _table("What it cost", ["agent", "model", "calls", "tokens in", "tokens out", "USD"], _sorted(costs))
    yield _table("What people decided", ["when", "who", "what", "where", "answer"], decisions)
    yield "<h2>Everything that happened</h2><table><tr>"
    yield "".join(f"<th>{name}</th>" for name in ("", "when", "who", "what", "where", "why, and the whole event"))
    yield "</tr>"
    yield from rows
    yield "</table><h2>The definition</h2>"
    yield f"<pre>{_json(head.get('definition_content'))}</pre></body></html>\n"


def _opening(head: Line, end: Line, key: str) -> str:
    facts = [
        ("automation", head.get("automation")),
        ("definition", head.get("definition")),
        ("bundle version", head.get("bundle_version")),
        ("asked for by", head.get("requested_by")),
        ("started by", head.get("trigger")),
        ("events", end.get("events")),
        ("model calls", f"{end.get('calls')}, {_cost(end)}"),
        ("exported", f"{head.get('exported_at')} by Muster {head.get('muster')}"),
        ("signed with", key),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts if value is not None)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Audit trail of {_text(head.get('run'))}</title><style>{STYLE}</style></head><body>"
        f"<h1>Audit trail of {_text(head.get('run'))}</h1>{_verdict(head.get('fault'))}<dl>{listed}</dl>"
    )


def _cost(end: Line) -> str:
    # A trail that was exported by an earlier version says nothing of calls without a price.
    return cost_in_words(money(end.get("cost_usd")), end.get("calls") or 0, end.get("unpriced_calls") or 0)


def _verdict(fault: object) -> str:
    if fault:
        return f'<p class="fault"><strong>The log does not verify:</strong> {_text(fault)}</p>'
    return '<p class="ok">The log verified when this was exported: every event is as it was written.</p>'


def _event(line: Line) -> str:
    told = {"model": line.get("model"), "tier": line.get("tier"), "request": line.get("request")}
    told |= {"cost in USD": line.get("cost_usd")}
    about = "".join(f"<br>{name} {_text(value)}" for name, value in told.items() if value is not None)
    if line.get("prompt"):
        about += f"<details><summary>prompt</summary><pre>{_json(line['prompt'])}</pre></details>"
    cells = [line["version"], line["when"], line["who"], line["what"], _where(line)]
    return (
        "<tr>"
        + "".join(f"<td>{_text(cell)}</td>" for cell in cells)
        + f"<td>{_text(line['why'])}{about}<details><summary>hash {line['hash'][:12]}</summary>"
        f"<pre>{_json(line['data'])}</pre></details></td></tr>"
    )


def _add(costs: dict[tuple[str, str], list[Any]], line: Line) -> None:
    if line["what"] != T.MODEL_CALLED:
        return
    usage = line["usage"] if isinstance(line["usage"], dict) else {}
    sums = costs.setdefault((str(line["who"]), str(line["model"])), [0, 0, 0, Decimal(0), 0])
    tokens = [usage.get(name) for name in ("input_tokens", "output_tokens")]
    sums[0] += 1
    sums[1] += tokens[0] if isinstance(tokens[0], int) else 0
    sums[2] += tokens[1] if isinstance(tokens[1], int) else 0
    sums[3] += money(line["cost_usd"])
    sums[4] += line["cost_usd"] is None


def _sorted(costs: dict[tuple[str, str], list[Any]]) -> list[list[object]]:
    listed = sorted(costs.items(), key=lambda item: (-item[1][3], item[0]))
    return [[*names, *sums[:3], cost_in_words(sums[3], sums[0], sums[4])] for names, sums in listed]


def _decided(line: Line) -> str:
    data = line["data"]
    answer = {True: "approved", False: "rejected"}.get(data.get("approved"), "")
    return ": ".join(str(part) for part in (answer, data.get("note") or data.get("reason")) if part)


def _table(title: str, names: list[str], rows: list[list[object]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    return f'<td class="number">{value}</td>' if isinstance(value, int | Decimal) else f"<td>{_text(value)}</td>"


def _where(line: Line) -> str:
    step, index = line.get("step"), line.get("index")
    return "" if step is None else str(step) if index is None else f"{step}[{index}]"


def _json(value: object) -> str:
    return _text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True))


def _text(value: object) -> str:
    text = "" if value is None else str(value)
    if len(text) > SHOWN:
        text = f"{text[:SHOWN]} … ({len(text) - SHOWN} more characters in the JSON lines)"
    # Half a surrogate pair has no UTF-8 form.
    return escape(text.encode("utf-8", "replace").decode())
