"""What model calls cost, in words that never take an unknown price for nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal


def by_run(unpriced: Mapping[tuple[str, str, int], int]) -> Counter[str]:
    """How many calls without a known price each run has; `unpriced` is from `Queries.unpriced`."""
    calls_by_run: Counter[str] = Counter()
    for (run, _, _), calls in unpriced.items():
        calls_by_run[run] += calls
    return calls_by_run


def by_step(unpriced: Mapping[tuple[str, str, int], int]) -> Counter[str]:
    """The same for each step, for the calls of one run."""
    calls_by_step: Counter[str] = Counter()
    for (_, step, _), calls in unpriced.items():
        calls_by_step[step] += calls
    return calls_by_step


def cost_in_words(cost: Decimal, calls: int, unpriced: int) -> str:
    """`$0.25`, `at least $0.25, 2 calls unpriced`, or `unknown, 2 calls unpriced`.

    Args:
        cost: US dollars of the calls whose price is known.
        calls: How many calls there were.
        unpriced: How many of them nobody knows the price of.
    """
    known = f"${cost.normalize():f}" if cost else "$0"
    if not unpriced:
        return known
    left = f"{unpriced} call{'s' if unpriced > 1 else ''} unpriced"
    return f"unknown, {left}" if unpriced >= calls else f"at least {known}, {left}"
