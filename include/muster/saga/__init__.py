"""The saga: what a run did is undone, in reverse, once it cannot be finished."""
