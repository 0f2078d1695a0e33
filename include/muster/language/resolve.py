"""From an automation as written, and checked, to its definition."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from muster.agents.spec import AgentSpec
from muster.language.automation import Automation, Deadline, SkillCheck, SqlCheck, StepDefaults
from muster.language.definition import Definition, ResolvedCheck, ResolvedDeadline
from muster.language.durations import parse_duration
from muster.language.expressions import evaluate
from muster.language.graph import waits
from muster.language.kinds import KINDS
from muster.language.personal import resolve_personal
from muster.language.resolved import (
    ResolvedAgentFallback,
    ResolvedClassRetry,
    ResolvedCompensation,
    ResolvedRetry,
    ResolvedTarget,
)
from muster.language.resolved_step import ResolvedStep
from muster.language.shares import resolve_context
from muster.language.site_catalog import SiteCatalog
from muster.language.steps import ClassRetry, Compensation, MappedStep, Retry, StepBase, Target, WorkStep
from muster.language.triggers import kind_of
from muster.language.usage import Usage

_NO_RETRY = ResolvedRetry()
LONGEST_UNDOING = 900.0
"""Seconds that an attempt at a compensation may take by default: a run must not hang half undone."""
PERSISTENT = ResolvedRetry(times=5)
"""The default `retry` of a compensation: when it fails for good a person has to act, so it tries hard."""


def resolve(
    automation: Automation, settings: Mapping[str, object], usages: Mapping[str, Usage], catalog: SiteCatalog
) -> Definition:
    """The definition of an automation that passed its checks.

    Args:
        automation: With folder defaults and `extends` merged in.
        settings: The site's, the folders' and its own, merged.
        usages: What each step refers to.
        catalog: The site's agents and skills.
    """
    fan_outs = {step.id for step in automation.steps if isinstance(step, MappedStep) and step.each is not None}
    after, aligned = waits(automation.steps), alignments(usages, fan_outs)
    steps = tuple(
        _step(step, automation.defaults, after[step.id], usages[step.id], aligned.get(step.id), catalog)
        for step in automation.steps
    )
    return Definition(
        name=automation.automation,
        title=automation.title or in_words(automation.automation),
        category=automation.category,
        department=automation.department,
        owner=automation.owner,
        description=automation.description,
        triggers=tuple(kind_of(trigger).resolve(trigger, automation, settings) for trigger in automation.triggers),
        inputs=automation.inputs,
        deadlines=tuple(_deadline(deadline, settings) for deadline in automation.deadlines),
        incidents=_told(automation.incidents, settings),
        checks=tuple(_check(check, settings) for check in automation.checks),
        budget=automation.budget.usd if automation.budget else None,
        retries=automation.budget.retries if automation.budget else None,
        personal=resolve_personal(automation.personal),
        shared_context=resolve_context(automation.shared_context),
        settings=dict(settings),
        steps=steps,
        agents=_inlined(steps, catalog),
    )


def in_words(name: str) -> str:
    """A name as people read it."""
    return name.replace("_", " ").capitalize()


def alignments(usages: Mapping[str, Usage], fan_outs: Collection[str]) -> dict[str, str]:
    """For each step that fans out, the first step that fans out over the same list."""
    first: dict[tuple[str, ...], str] = {}
    aligned: dict[str, str] = {}
    for step_id, used in usages.items():
        if step_id not in fan_outs:
            continue
        # Only paths can be compared. A list that any other expression gives counts as its own.
        aligned[step_id] = step_id
        if path := used.each.path:
            if len(path) == 2 and path[0] == "steps" and path[1] in aligned:
                aligned[step_id] = aligned[path[1]]
            else:
                aligned[step_id] = first.setdefault(path, step_id)
    return aligned


def _step(
    step: StepBase,
    defaults: StepDefaults,
    after: tuple[str, ...],
    used: Usage,
    aligned_to: str | None,
    catalog: SiteCatalog,
) -> ResolvedStep:
    work = step if isinstance(step, WorkStep) else None
    each = step.each if isinstance(step, MappedStep) else None
    failures = step.failures if isinstance(step, MappedStep) else None
    kind = KINDS[step.kind]
    # `own` holds what the step's skill declares, if the step has one. What the step says itself takes precedence.
    own = {"lane": None, "timeout": None, **kind.resolve(step, catalog)}
    own["lane"] = (work and work.lane) or own["lane"] or kind.lanes[0]
    own["timeout"] = _timeout(step, own["timeout"], defaults)
    each, failures = own.pop("each", each), own.pop("failures", failures)
    pool = step.pool if step.pool is not None else defaults.pool
    pack = work.pack if work else None
    if pack == "auto":
        # One event loop has room for all items, and a task takes Airflow seconds. Not with a pool, because Airflow
        # counts tasks in it, not items.
        pack = "all" if own["lane"] == "async" and pool is None else None
    return kind.resolved(
        id=step.id,
        kind=step.kind,
        title=step.title or in_words(step.id),
        after=after,
        when=step.when,
        each=each,
        pack=pack,
        failures=failures or "continue",
        priority=step.priority if step.priority is not None else defaults.priority,
        pool=pool,
        retry=_retry(work.retry or defaults.retry if work else None),
        compensate=_compensation(work.compensate, used, catalog) if work and work.compensate else None,
        irreversible=work.irreversible if work else False,
        lock=tuple(work.lock or ()) if work else (),
        references=tuple(sorted(used.steps)),
        when_references=tuple(sorted(used.when.steps)),
        aligned_to=None if each is None else aligned_to or step.id,
        **own,
    )


def _retry(retry: Retry | None) -> ResolvedRetry:
    if retry is None:
        return _NO_RETRY
    return ResolvedRetry(
        times=retry.times,
        delay=parse_duration(retry.delay),
        backoff=retry.backoff,
        max_delay=parse_duration(retry.max_delay),
        on={kind: _class_retry(own) for kind, own in sorted(retry.on.items())},
    )


def _class_retry(own: ClassRetry) -> ResolvedClassRetry:
    return ResolvedClassRetry(
        times=own.times,
        delay=None if own.delay is None else parse_duration(own.delay),
        backoff=own.backoff,
        max_delay=None if own.max_delay is None else parse_duration(own.max_delay),
    )


def _timeout(step: StepBase, own: float | None, defaults: StepDefaults) -> float | None:
    """Seconds; `own` is the limit of what the step calls."""
    if (written := getattr(step, "timeout", None)) is not None:
        return parse_duration(written)
    if not isinstance(step, WorkStep):
        # A folder's default is for an attempt at work, not for a whole run.
        return None
    return own if own is not None else parse_duration(defaults.timeout) if defaults.timeout else None


def _compensation(undo: Compensation, used: Usage, catalog: SiteCatalog) -> ResolvedCompensation:
    entry = catalog.skills.get(undo.skill)
    limit = parse_duration(undo.timeout) if undo.timeout else entry.timeout if entry else None
    return ResolvedCompensation(
        skill=undo.skill,
        arguments=undo.arguments,
        retry=PERSISTENT if undo.retry is None else _retry(undo.retry),
        timeout=LONGEST_UNDOING if limit is None else limit,
        references=tuple(sorted(used.undo.steps)),
    )


def _deadline(deadline: Deadline, settings: Mapping[str, object]) -> ResolvedDeadline:
    return ResolvedDeadline(within=parse_duration(deadline.within), notify=_told(deadline.notify, settings))


def _check(check: SqlCheck | SkillCheck, settings: Mapping[str, object]) -> ResolvedCheck:
    if isinstance(check, SqlCheck):
        return ResolvedCheck(name=check.name, schedule=check.schedule, sql=check.sql)
    arguments = evaluate(check.arguments, {"settings": settings})
    return ResolvedCheck(name=check.name, schedule=check.schedule, skill=check.skill, arguments=arguments)


def _told(targets: Sequence[Target], settings: Mapping[str, object]) -> tuple[ResolvedTarget, ...]:
    """Who is told, settings filled in."""
    rendered = evaluate([ResolvedTarget.of(target).model_dump() for target in targets], {"settings": settings})
    return tuple(ResolvedTarget.model_validate(target) for target in rendered)


def _inlined(steps: Sequence[ResolvedStep], catalog: SiteCatalog) -> dict[str, AgentSpec]:
    ids = {agent for step in steps for agent in step.agents}
    ids |= {step.fallback.agent for step in steps if isinstance(step.fallback, ResolvedAgentFallback)}
    agents = {agent_id: catalog.agents.get(agent_id) for agent_id in sorted(ids)}
    return {agent_id: agent for agent_id, agent in agents.items() if agent is not None}
