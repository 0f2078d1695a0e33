"""What an event of each type says: a class per type, of runs, of work and of people; `base` tells how one is read."""

# Whoever reads one of them knows all: `base.PAYLOADS` is filled as they are imported.
from muster.events.payloads import people as people
from muster.events.payloads import runs as runs
from muster.events.payloads import work as work
