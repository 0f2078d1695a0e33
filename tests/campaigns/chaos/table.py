"""What a campaign has shown, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

from campaigns.chaos.faults import Strike
from campaigns.chaos.judging import Report

SHOWN = 20
"""Of each kind of finding, at most so many lines."""


def table(report: Report, runs: int, seed: int, seconds: float) -> str:
    """Everything in one text."""
    return "\n".join(_lines(report, runs, seed, seconds))


def _lines(report: Report, runs: int, seed: int, seconds: float) -> Iterator[str]:
    yield f"\n{runs} runs, seed {seed}, {len(report.strikes)} faults, {seconds / 60:.1f} minutes\n"
    if report.not_started:
        yield f"TIME WAS UP: {report.not_started} of them were not started.\n"
    rows = [
        ("runs completed", report.ends["succeeded"]),
        ("runs compensated", report.ends["compensated"]),
        ("  of these stuck before, then resumed", report.resumed),
        ("runs cancelled on the way", report.cancelled),
        ("runs the reconciler saw to", report.reconciled),
        ("dead schedulers that a person gave up", report.freed),
        ("runs stuck in the end", report.ends["stuck"]),
        ("runs failed, whole or with nothing left of them", report.ends["failed"] + report.ends["never opened"]),
        ("effects outside", report.deeds),
        ("  an attempt asked about, and had happened", report.found),
        ("  in doubt, reported, settled by a person", report.in_doubt),
        ("events", report.events),
        ("events lost", len(report.lost)),
        ("effects doubled", len(report.doubled)),
        ("invariants broken", len(report.invariants)),
    ]
    yield from (f"{name:<52}{count:>8}" for name, count in rows)
    yield f"\n{'fault':<20}{'times':>6}{'median s':>10}{'worst s':>9}{'unseen':>8}"
    for kind in sorted({strike.kind for strike in report.strikes}):
        yield _times(kind, [strike for strike in report.strikes if strike.kind == kind])
    if report.strikes:
        yield _times("time to recover", report.strikes)
    yield from (f"{kind:<20}  NOT POSSIBLE HERE: {why}" for kind, why in report.impossible.items())
    for title, findings in (("lost", report.lost), ("doubled", report.doubled), ("broken", report.invariants)):
        yield from (f"{title}: {finding}" for finding in findings[:SHOWN])
        if len(findings) > SHOWN:
            yield f"{title}: and {len(findings) - SHOWN} more"


def _times(kind: str, strikes: Iterable[Strike]) -> str:
    """One line; of a fault after which no work was left, nobody saw it go on."""
    strikes = list(strikes)
    took = [strike.took for strike in strikes if strike.took is not None]
    figures = f"{median(took):>10.1f}{max(took):>9.1f}" if took else f"{'-':>10}{'-':>9}"
    return f"{kind:<20}{len(strikes):>6}{figures}{len(strikes) - len(took):>8}"
