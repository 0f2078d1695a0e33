"""`operator`: any Airflow operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from muster.language.ancestry import WAIT_SO, WAITING, WAITS
from muster.language.expressions import is_expression
from muster.language.fields import Values
from muster.language.importing import operators_named
from muster.language.problems import all_of, did_you_mean
from muster.language.resolved_step import ResolvedStep
from muster.language.step_kind import StepKind
from muster.language.steps import WorkStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from muster.language.problems import Problem
    from muster.language.spot import Spot


class OperatorStep(WorkStep):
    """Runs an Airflow operator in a task process; what it returns is the step's output.
    Decimals and dates in it stay what they are; in a run about somebody they are text.

    Operators that have Airflow skip tasks after them (`LatestOnlyOperator`, `ShortCircuitOperator`,
    `BranchSQLOperator` and every other with a `SkipMixin`) are refused: which steps are skipped is said by
    `when` and `branch`. So is `wait_for_completion` of a `TriggerDagRunOperator`: a `run` step waits for
    another run. Without a `trigger_run_id` the run gets a name of Muster's own (`muster__…`), or with a
    `logical_date` Airflow's name for it: the same in every attempt, so that a retry starts no second one. Of
    several that name the same run one starts it; the others fail, skip themselves or have it begun again, as
    `skip_when_already_exists` and `reset_dag_run` say. The step's `timeout` counts through everything that one
    attempt waits for, in the triggerer too. At its end the attempt has failed, also where the operator would
    skip itself (`soft_fail`) or take a default for an answer (`HITLOperator`); a limit of the operator's own
    (`response_timeout`) means what it means in Airflow. An operator that is at work in its process is told at
    its end, and when the run is cancelled, to stop what it has started (`on_kill`). Each item of `each` has a
    task of its own: there is no `pack`.
    """

    kind: ClassVar[str] = "operator"
    operator: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$", max_length=300)
    """The operator's import path, of a package that is installed. The setting `allowed_operators` says which may be
    used."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """The operator's arguments by name."""


class ResolvedOperator(ResolvedStep):
    """Runs an Airflow operator."""

    done_by = "airflow"

    kind: Literal["operator"]
    operator: str
    arguments: dict[str, object] = {}


def _check(step: OperatorStep, spot: Spot) -> Iterator[Problem]:
    if step.lock is not None:
        message = "an operator may leave its process and come back, so it cannot hold a lock"
        yield spot.problem(message, "lock", key=True, suggestion="Lock a skill instead.")
    if step.pack not in (None, 1):
        message = "Airflow performs an operator once in a task, so it cannot take several items in one"
        suggestion = "Leave `pack` out: each item gets a task of its own. For many small items write a skill."
        yield spot.problem(message, "pack", suggestion=suggestion)
    allowed = allowed_operators(spot.settings)
    if not operator_allowed(step.operator, allowed):
        message = f"the operator `{step.operator}` is not allowed here"
        suggestion = f"The setting `allowed_operators` allows {', '.join(allowed) or 'none'}."
        yield spot.problem(message, "operator", suggestion=_installed(step.operator) or suggestion)
    elif found := spot.catalog.refusal(step.operator):
        message = f"the operator `{step.operator}` {found.message}"
        elsewhere = _installed(step.operator) if "cannot be imported" in found.message else None
        yield spot.problem(message, "operator", suggestion=elsewhere or found.suggestion)
    else:
        yield from _misfits(step, spot)
        if _is_set(step.arguments.get(WAITING)) and spot.catalog.starts_runs(step.operator):
            yield spot.problem(f"`{WAITING}` {WAITS}", "with", WAITING, suggestion=WAIT_SO)


def _installed(path: str) -> str | None:
    """Where the operator of that name is among those that are installed."""
    there = [other for other in operators_named(path.rpartition(".")[2]) if other != path]
    return f"Write `{there[0]}`." if len(there) == 1 else None


def _misfits(step: OperatorStep, spot: Spot) -> Iterator[Problem]:
    """What is given that the operator does not take, and what it needs that is not given."""
    if "python_callable" in step.arguments:
        message = "`python_callable` takes a function, and none can stand in YAML"
        remedy = "Write it as a skill, which a step `skill` calls by its name."
        yield spot.problem(message, "with", "python_callable", suggestion=remedy)
    takes = spot.catalog.signature(step.operator)
    if takes is None:
        return
    name = step.operator.rpartition(".")[2]
    for given in step.arguments.keys() - takes.taken:
        suggestion = did_you_mean(given, takes.taken)
        yield spot.problem(f"`{name}` takes no `{given}`", "with", given, key=True, suggestion=suggestion)
    others = step.arguments.get("default_args", {})
    if not isinstance(others, dict):
        return  # An expression: nobody knows yet what it gives.
    if missing := sorted(takes.needed - step.arguments.keys() - others.keys()):
        yield spot.problem(f"`{name}` needs {all_of(missing)}", "operator", suggestion="Give it in `with`.")


def _is_set(value: object) -> bool:
    """True for a true value that is no expression: what an expression gives is known only in a run."""
    return bool(value) and not (isinstance(value, str) and is_expression(value))


def allowed_operators(settings: Mapping[str, object]) -> list[str]:
    """The import paths, or their beginnings followed by `.*`, of the operators that may be used."""
    allowed = settings.get("allowed_operators", ["airflow.providers.*"])
    return [str(entry) for entry in allowed] if isinstance(allowed, list) else []


def operator_allowed(path: str, allowed: Iterable[str]) -> bool:
    """True when one of the entries allows the operator."""
    return any(path.startswith(entry[:-1]) if entry.endswith(".*") else path == entry for entry in allowed)


KIND = StepKind(
    model=OperatorStep,
    resolved=ResolvedOperator,
    place=60,
    lanes=("worker",),
    resolve=lambda step, catalog: {"operator": step.operator, "arguments": step.arguments},
    check=_check,
    example="""automation: nightly_copy
triggers:
  - schedule: "@daily"
steps:
  - id: copy
    operator: airflow.providers.standard.operators.bash.BashOperator
    with: { bash_command: "echo copied {{ settings.inbox }}" }
    timeout: 10m
    pool: default_pool
""",
    output="What the operator returns, as JSON. The rows of a query are lists: `steps.query[0][1]`.",
    output_example='"copied /srv/letters"',
)
