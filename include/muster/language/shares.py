"""`shared_context`: what the steps of a run know together, and what each of them may read and write."""

from __future__ import annotations

from pydantic import Field

from muster.language.fields import Shape, Text, Words
from muster.language.resolved import Resolved
from muster.yaml_model import Name, YamlModel

SHOWN = 2_000
"""Tokens of it that an agent is shown, unless a step says otherwise."""


class Context(YamlModel):
    """The keys of the shared context, each with what may stand under it: a JSON Schema, or a Pydantic model by name."""

    run: dict[Name, Shape] = {}
    """The keys of the run itself."""
    goal: dict[Name, Shape] = {}
    """The keys that the run shares with other runs for the same goal."""
    of: Text | None = None
    """The goal: its name, or an expression over `inputs` and `settings` that gives it. It is stored as it is."""


class Shares(YamlModel):
    """What a step reads and writes of the shared context. An agent is shown what it reads; a skill, also as a tool, has
    it as `context.board`.
    """

    reads: Words = []
    """The keys that it may read."""
    writes: Words = []
    """The keys that it may write."""
    tokens: int = Field(default=SHOWN, ge=0, le=1_000_000)
    """How much of it an agent is shown, about; the least relevant is left out first, and of that the oldest."""


class ResolvedContext(Resolved):
    """The keys of the shared context."""

    run: dict[str, dict[str, object] | str] = {}
    goal: dict[str, dict[str, object] | str] = {}
    of: str | None = None


class ResolvedShares(Resolved):
    """What a step reads and writes of the shared context."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    tokens: int = SHOWN


def resolve_context(context: Context | None) -> ResolvedContext | None:
    """`context` as it is in a definition."""
    return None if context is None else ResolvedContext(run=context.run, goal=context.goal, of=context.of)


def resolve_shares(shares: Shares | None) -> ResolvedShares | None:
    """A step's `context` as it is in a definition."""
    if shares is None:
        return None
    return ResolvedShares(reads=tuple(shares.reads), writes=tuple(shares.writes), tokens=shares.tokens)


EXAMPLE = """automation: sum_letters_up
inputs:
  uri: { type: string }
shared_context:
  run:
    facts: { type: object, additionalProperties: { type: string } }
    letter: office.Letter
  goal: { lessons: { type: array, items: { type: string } } }
  of: letters
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }
    context: { writes: [letter] }

  - id: handle
    context: { reads: [facts, letter, lessons], writes: [facts], tokens: 1000 }
    team:
      members: [clerk, secretary]
      tasks:
        - id: sum_up
          ask: Summarise the letter in one sentence.
          needs: [summaries]
          with: { letter: "{{ steps.read }}" }
          writes: [facts]
        - id: sort
          ask: Which department is this letter for?
          needs: [sorting]
          with: { letter: "{{ steps.read }}" }
          after: [sum_up]
          reads: [facts]
          writes: []
"""
"""What the steps of a run know together."""
