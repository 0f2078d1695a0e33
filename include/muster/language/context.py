"""Checks of `shared_context`: its keys and its goal, and that steps read and write no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from muster.language.expressions import ExpressionSyntaxError, parse
from muster.language.problems import did_you_mean
from muster.language.returns import mistake

if TYPE_CHECKING:
    from muster.language.explain import Located
    from muster.language.problems import Problem
    from muster.language.shares import Context, Shares
    from muster.skills.index import SkillIndex


def check_context(
    context: Context | None,
    shared: Sequence[tuple[int, Shares]],
    inputs: Mapping[str, object],
    document: Located,
    skills: SkillIndex,
    *,
    is_personal: bool,
) -> Iterator[Problem]:
    """What of the shared context does not fit the automation; `shared` has what steps read and write, by position."""
    known: list[str] = []
    if context is not None:
        known = [*context.run, *context.goal]
        yield from _check_keys(context, document, skills)
        yield from _check_goal(context, inputs, document, is_personal=is_personal)
    for position, shares in shared:
        for right, names in (("reads", shares.reads), ("writes", shares.writes)):
            for name in names:
                if name not in known:
                    hint = did_you_mean(name, known) or (
                        f"The keys are {', '.join(known)}."
                        if known
                        else f"Declare it above the steps: `shared_context: {{ run: {{ {name}: {{ type: … }} }} }}`."
                    )
                    place = ("steps", position, "context", right)
                    yield document.problem(f"the shared context has no key `{name}`", place, suggestion=hint)


def _check_keys(context: Context, document: Located, skills: SkillIndex) -> Iterator[Problem]:
    for part, keys in (("run", context.run), ("goal", context.goal)):
        for name, shape in keys.items():
            if wrong := mistake(shape, skills):
                yield document.problem(wrong[0], ("shared_context", part, name), suggestion=wrong[1])
    for name in sorted(context.run.keys() & context.goal.keys()):
        message = f"`{name}` is a key of the run already"
        yield document.problem(message, ("shared_context", "goal", name), key=True, suggestion="Rename one of them.")


def _check_goal(
    context: Context, inputs: Mapping[str, object], document: Located, *, is_personal: bool
) -> Iterator[Problem]:
    if context.of is None:
        if context.goal:
            yield document.problem(
                "`of` is missing: which goal these keys belong to",
                ("shared_context", "goal"),
                key=True,
                suggestion='Write its name, or an expression that gives it: `of: "{{ inputs.goal }}"`.',
            )
        return
    place = ("shared_context", "of")
    if not context.goal:
        yield document.problem("`of` names a goal, and there are no keys of it", place, key=True)
    try:
        references = parse(context.of)
    except ExpressionSyntaxError as error:
        yield document.problem(error.message, place, suggestion=error.suggestion, offset=error.line)
        return
    if references.variables - {"inputs", "settings"}:
        yield document.problem("only `inputs` and `settings` are known here", place)
    for name in sorted(references.inputs - inputs.keys()):
        yield document.problem(f"there is no input `{name}`", place, suggestion=did_you_mean(name, list(inputs)))
    if is_personal and references.inputs:
        message = "the name of a goal is stored as it is, so in a run about a person it comes from no input"
        yield document.problem(message, place, suggestion="Take it from `settings`, or write it.")
