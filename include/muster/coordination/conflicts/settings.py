"""Settings: for each kind of conflict how it is resolved, and from when on a predicted one is acted on."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Self

from pydantic import Field, model_validator

from muster.coordination.conflicts.model import ConflictKind
from muster.coordination.conflicts.rule import ConflictRule
from muster.coordination.conflicts.strategies import STRATEGIES
from muster.yaml_model import YamlModel


class ConflictSettings(YamlModel):
    """How conflicts between the agents of a team are resolved. A rule that is given replaces the default as a whole."""

    files: ConflictRule = ConflictRule(strategy="three_way")
    """Files that several agents changed. Default: a three-way merge, then a person."""
    records: ConflictRule = ConflictRule(strategy="field_wise")
    """Records and outputs. Default: field by field, then a person."""
    contracts: ConflictRule = ConflictRule(strategy="newest", checks=["contract"])
    """API contracts. Default: the newest, once the check `contract` finds nothing wrong with it; then a person."""
    dependencies: ConflictRule = ConflictRule(strategy="highest_compatible", checks=["security_scan"])
    """Versions of packages. Default: the highest that fits all, once `security_scan` finds nothing; then a person."""
    names: ConflictRule = ConflictRule(strategy="prefix", person_from=5)
    """Names that several agents gave to different things. Default: the agent's id before it; a person from five on."""
    facts: ConflictRule = ConflictRule(strategy="quorum")
    """Statements that contradict each other. Default: a vote, then a person."""
    act_from: float = Field(default=0.7, ge=0, le=1)
    """The probability from which on a predicted conflict is acted on before work starts."""

    def rule(self, kind: ConflictKind) -> ConflictRule:
        """The rule for a kind of conflict."""
        rule: ConflictRule = getattr(self, kind.value)
        return rule

    @model_validator(mode="after")
    def _rules_fit_their_kinds(self) -> Self:
        wrong = [f"{kind}: {mistake}" for kind in ConflictKind for mistake in _mistakes(kind, self.rule(kind))]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def _mistakes(kind: ConflictKind, rule: ConflictRule) -> Iterator[str]:
    suitable = [name for name, strategy in STRATEGIES.items() if kind in strategy.kinds]
    names = (rule.strategy, rule.fallback)
    for name in dict.fromkeys(names):
        if name not in STRATEGIES:
            near = get_close_matches(name, suitable, 1)
            meant = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(suitable)}"
            yield f"there is no strategy `{name}`: {meant}"
        elif name not in suitable:
            yield f"`{name}` cannot resolve conflicts of {kind}; {', '.join(suitable)} can"
    if rule.strategy == rule.fallback != "human":
        yield f"the fallback of `{rule.strategy}` is the same strategy"
    for option in sorted({option for strategy in STRATEGIES.values() for option in strategy.options}):
        used = any(option in STRATEGIES[name].options for name in names if name in STRATEGIES)
        if getattr(rule, option) and not used:
            yield f"`{option}` says nothing to `{rule.strategy}`"
