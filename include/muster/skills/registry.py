"""The `@skill` decorator, what a skill is handed, and how one is found by name."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from muster.documents import NO_DOCUMENTS, Documents
from muster.errors import MusterError, PermanentError
from muster.misfits import misfits

if TYPE_CHECKING:
    # Compiling an automation reads this module and must not pay for the database driver.
    from muster.coordination.blackboard.board import Board
    from muster.coordination.messages.mailbox import Mailbox
    from muster.database import Database
    from muster.recovery.effects import IdempotentEffect
    from muster.recovery.guarding import Guard
    from muster.recovery.ledger import FindOut

Lane = Literal["async", "worker"]
F = TypeVar("F", bound=Callable[..., Any])


class Together(Protocol):
    """What those who work at a run have together."""

    def board(self, context: SkillContext) -> Board:
        """The shared context."""
        ...

    def messages(self, context: SkillContext) -> Mailbox:
        """The mailbox of whoever does the work."""
        ...


@dataclass(frozen=True, kw_only=True)
class SkillContext:
    """What a skill may know of the run it works for. Ask for it with a parameter named `context`."""

    run: str
    """The run's id, `<automation>/<airflow run id>`; `try/…` when a person tries a skill by hand."""
    step: str
    index: int | None = None
    """Position of the item in a fan-out; None outside one."""
    key: str
    """Idempotency key: the same for every attempt at this work item, different for every other."""
    undoes: str | None = None
    """In a compensation: the `key` of the work to undo, which may never have happened."""
    agent: str | None = None
    """The agent that does the work in the place of another one: the keys of effects tell who has done something."""
    now: datetime
    """The time the attempt began, with its zone; use it in place of the clock so that replays agree."""
    database: Database
    workspace: Path
    """A folder for files this run produces; kept after the run."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    together: Together | None = field(default=None, repr=False)
    """What it has together with others who work at the run; None when a person tries it by hand."""
    documents: Documents = NO_DOCUMENTS
    """The files it may read: whoever starts a run names files, so a skill opens none but by `documents.read`."""

    @cached_property
    def board(self) -> Board:
        """The shared context of the run, as the step's `context` says that it may be read and written."""
        return self._together.board(self)

    @cached_property
    def messages(self) -> Mailbox:
        """The mailbox of whoever does the work, an agent or a step: to write to others of the run, and receive."""
        return self._together.messages(self)

    @property
    def _together(self) -> Together:
        if self.together is None:
            raise PermanentError(
                f"{self.run} has no shared context and no mailboxes.",
                remedy="Call the skill in a step of an automation.",
            )
        return self.together

    def effect(
        self, name: str, *, request: Any, kind: str = "skill", find_out: FindOut | None = None
    ) -> IdempotentEffect:
        """An effect outside of this work item, to be performed once however often the work is tried.

        Args:
            name: Which of the work's effects it is.
            request: What is asked for, as JSON: the same in every attempt, or it is refused.
            kind: What people see it listed as.
            find_out: Asked what became of an attempt that never came back; `muster.recovery` says what it may
                answer. By default nobody can tell, and a person has to.
        """
        from muster.recovery.effects import IdempotentEffect
        from muster.recovery.ledger import Effect, Ledger, cannot_tell, effect_key

        effect = Effect.of(effect_key(self.key, self.agent, name), kind, request, self.run)
        return IdempotentEffect(Ledger(self.database), effect, find_out or cannot_tell)

    def guard(self, name: str) -> Guard:
        """The circuit breaker `name`, such as `host:api.example.com`, round the body of `with` or `async with`.

        A `TransientError` counts as a failure. While it is open the body is not run: `BreakerOpen` is raised.
        """
        from muster.recovery.breakers import breakers_of, policy_of
        from muster.recovery.guarding import Guard

        breakers, policy = breakers_of(self.database.bare), policy_of(self.settings, name)
        return Guard(breakers, name, policy)


@dataclass(frozen=True)
class Skill:
    """A typed function with a name: `<domain>.<verb_noun>`."""

    name: str
    function: Callable[..., Any]
    lane: Lane = "worker"
    timeout: float | None = None

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def is_async(self) -> bool:
        """True when the function is a coroutine function."""
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def wants_context(self) -> bool:
        """True when the function has a `context` parameter."""
        return "context" in inspect.signature(self.function).parameters

    @cached_property
    def input_model(self) -> type[BaseModel]:
        """A Pydantic model of the parameters, `context` left out; unknown names are refused."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {
            name: (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
            for name, parameter in inspect.signature(self.function).parameters.items()
            if name != "context"
        }
        title = self.name.replace(".", "_")
        return create_model(title, __config__={"extra": "forbid", "arbitrary_types_allowed": True}, **fields)

    @cached_property
    def output(self) -> TypeAdapter[Any]:
        """The return annotation as a Pydantic adapter."""
        return TypeAdapter(self._returned)

    @cached_property
    def _dumper(self) -> TypeAdapter[list[Any]]:
        # NaN and infinity stay as they are and are then refused; by default they become null, and nobody would notice.
        # In a list, because a model takes no configuration from outside.
        return TypeAdapter(list[self._returned], config=ConfigDict(ser_json_inf_nan="constants"))  # type: ignore[name-defined]

    @property
    def _returned(self) -> Any:
        return typing.get_type_hints(self.function, include_extras=True).get("return", Any)

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Validated arguments for the function.

        Raises:
            PermanentError: a value is missing, unknown or of the wrong type; the message names each.
        """
        try:
            model = self.input_model.model_validate(dict(values))
        except ValidationError as error:
            wrong = "; ".join(misfits(error))
            raise PermanentError(f"skill {self.name} was given arguments it cannot take: {wrong}.") from error
        return {name: getattr(model, name) for name in type(model).model_fields}

    def dump(self, value: Any) -> Any:
        """The result as JSON-ready data: decimals and dates become strings."""
        return self._dumper.dump_python([value], mode="json")[0]


@contextmanager
def staying_alive(what: str) -> Iterator[None]:
    """Keep other people's code, the body, from ending the process, which in the triggerer all runs share.

    Raises:
        PermanentError: the body called `sys.exit`.
    """
    try:
        yield
    except SystemExit as error:
        raise PermanentError(
            f"{what} called sys.exit({'' if error.code is None else repr(error.code)}), which ends nothing here.",
            remedy="Return a result, or raise an error that says what is wrong.",
        ) from error


SITE = "muster_site."
"""Begins the names of the modules made from a site's own files."""

_skills: dict[str, Skill] = {}
"""The skills that ship with Muster."""


@dataclass(frozen=True)
class _SiteModule:
    """One of the site's files, as of one moment."""

    stamp: int
    module: ModuleType
    skills: Mapping[str, Skill]


_site: dict[Path, _SiteModule] = {}
"""By file: runs of several versions share one triggerer, each with the skills of its own version."""
_importing: ContextVar[dict[str, Skill] | None] = ContextVar("importing", default=None)
"""Where the file that is being imported registers its skills."""


def skill(name: str, *, lane: Lane = "worker", timeout: float | None = None) -> Callable[[F], F]:
    """Register a typed function as the skill `name`.

    Arguments must be literals: an automation is compiled by reading them from the source, without
    importing the module. `timeout` is in seconds.
    """

    def register(function: F) -> F:
        own = _importing.get()
        # A skill that ships with Muster goes to everybody, also if a site's file is the first to import its module:
        # else only that file's runs would find it, because Python imports a module once.
        known = own if own is not None and function.__module__.startswith(SITE) else _skills
        known[name] = Skill(name, function, lane, timeout)
        return function

    return register


def get_skill(name: str, site: Path | None = None) -> Skill:
    """The skill `name`, importing the module that defines it when needed.

    `finance.read_invoice` lives in the package `muster.skills.finance` or in `<site>/finance.py`.

    Raises:
        MusterError: there is no such skill; the message suggests the nearest name.
    """
    domain = name.partition(".")[0]
    own: Mapping[str, Skill] = {}
    if site is not None and (path := site / f"{domain}.py").is_file():
        own = _imported(path).skills
    if name not in own and name not in _skills:
        _import_shipped(domain)
    try:
        return own[name] if name in own else _skills[name]
    except KeyError:
        near = difflib.get_close_matches(name, [*own, *_skills], n=1)
        raise MusterError(
            f"There is no skill named {name!r}.",
            remedy=f"Did you mean {near[0]!r}?" if near else "`muster skill --list` shows them all.",
        ) from None


def _import_shipped(domain: str) -> None:
    if domain.isidentifier() and importlib.util.find_spec(f"muster.skills.{domain}") is not None:
        importlib.import_module(f"muster.skills.{domain}")


def import_site_module(path: Path) -> Any:
    """Import one of a site's own skill files under the name `muster_site.<file>`, again when it has changed.

    The triggerer lives for weeks: it must not go on with the skills of the day it started.
    """
    return _imported(path).module


def _imported(path: Path) -> _SiteModule:
    module_name, stamp = f"{SITE}{path.stem}", path.stat().st_mtime_ns
    known = _site.get(path)
    if known is None or known.stamp != stamp:
        known = _site[path] = _execute(path, module_name, stamp)
    # Set each time: runs of several versions share this process, and their files have one module name.
    sys.modules[module_name] = known.module
    return known


def _execute(path: Path, module_name: str, stamp: int) -> _SiteModule:
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise MusterError(f"{path} cannot be imported as a Python module.")
    module = importlib.util.module_from_spec(spec)
    before, skills = sys.modules.get(module_name), dict[str, Skill]()
    # There while it is executed, because dataclasses and Pydantic look up their module by its name.
    sys.modules[module_name] = module
    token = _importing.set(skills)
    try:
        with staying_alive(str(path)):
            spec.loader.exec_module(module)
    # The module that was there before is put back: an edit that cannot be imported must not take it from others.
    except BaseException:
        del sys.modules[module_name]
        if before is not None:
            sys.modules[module_name] = before
        raise
    finally:
        _importing.reset(token)
    return _SiteModule(stamp, module, skills)
