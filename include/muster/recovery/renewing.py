"""Renews the claims on effects that this process performs, so that nobody else takes a slow one over.

Every claim that is due is renewed in one statement, which passes over rows that are locked and does not wait without a
limit for an answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from muster.recovery.lifeline import Teller, say

log = logging.getLogger(__name__)

RENEWALS = 3
"""How often a claim is renewed within its time."""
PAUSE = 1.0
"""Seconds until a renewal that failed is tried again."""
TRIES = 4
"""How often one that gets no answer is tried within a third of a claim's time."""

# One thread renews for all, so it may wait for nobody: a row that somebody has locked is passed over, and tried again
# after `PAUSE`. A wait for it could cost all the other claims.
RENEW = """
UPDATE effects SET claimed_until = clock_timestamp() + make_interval(secs => mine.seconds)
  FROM (SELECT known.key, claim.seconds FROM effects known
          JOIN unnest(%(keys)s::text[], %(attempts)s::integer[], %(seconds)s::float8[]) AS claim (key, attempt, seconds)
            ON known.key = claim.key AND known.attempt = claim.attempt AND known.status = 'begun'
           FOR UPDATE OF known SKIP LOCKED) AS mine
 WHERE effects.key = mine.key RETURNING effects.key
"""


@dataclass(eq=False)
class Claim:
    """A claim on an effect while its body runs."""

    dsn: str
    key: str
    attempt: int
    """At the effect, as the ledger counts them: a renewal by an earlier one changes nothing."""
    seconds: float
    """How long it lasts from each renewal."""
    due: float
    """On the monotonic clock."""


def _renew_due(dsn: str, claims: list[Claim]) -> None:
    # A claim that is let go of meanwhile is renewed once too often: that changes nothing, unless its effect is still
    # `begun` by the same attempt.
    try:
        renewed = renew(dsn, claims)
    # Whatever the error is: it would end the thread, and no claim of the process would be renewed again.
    except Exception as error:
        log.warning("%d claims on effects could not be renewed: %s", len(claims), error)
        renewed = set()
    now = time.monotonic()
    for claim in claims:
        often = claim.seconds / RENEWALS
        claim.due = now + (often if claim.key in renewed else min(often / TRIES, PAUSE))


def renew(dsn: str, claims: Sequence[Claim]) -> set[str]:
    """Let the claims last for their time from now; the keys of those that were renewed.

    What is not claimed any more stays as it is, and so does what another transaction has locked.
    """
    values = {
        "keys": [claim.key for claim in claims],
        "attempts": [claim.attempt for claim in claims],
        "seconds": [claim.seconds for claim in claims],
    }
    limit = min(claim.seconds for claim in claims) / RENEWALS / TRIES
    return {key for (key,) in say(dsn, RENEW, values, limit)}


def keep(dsn: str, key: str, attempt: int, seconds: float) -> Claim:
    """Renew a claim until it is let go of."""
    claim = Claim(dsn, key, attempt, seconds, time.monotonic() + seconds / RENEWALS)
    _renewer.add(claim)
    return claim


def let_go(claim: Claim) -> None:
    """Renew it no more."""
    _renewer.remove(claim)


_renewer = Teller("muster-claims", _renew_due)
