"""How a work item asks its models: journal first, then tier after tier, each call within its budget.

Imported only when a model is asked: it brings pydantic-ai along.
"""
# ruff: noqa: TID253

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pydantic_ai.exceptions import (
    ContentFilterError,
    FallbackExceptionGroup,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelOverloadedError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.settings import ModelSettings
from pydantic_core import to_jsonable_python

from muster.agents.budget import Budget
from muster.agents.call import AgentCall
from muster.agents.errors import LimitReached
from muster.agents.fingerprint import fingerprint
from muster.agents.journal import Journal, Recorded, model_key
from muster.agents.models import Tier
from muster.agents.prices import PriceTable
from muster.agents.prompt_record import asked
from muster.agents.tools import ensure_nothing_in_doubt
from muster.errors import BudgetExceeded, ErrorClass, PermanentError, TransientError
from muster.events.model import Event
from muster.events.payloads.work import ModelCalled
from muster.failures import classify
from muster.recovery.breakers import BreakerOpen, Breakers, policy_of
from muster.recovery.guarding import Guard, ProbeTimedOut, Verdict
from muster.recovery.ledger import Ledger

log = logging.getLogger(__name__)

_COUNTED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")

FIRST_GUESS = 1_024
"""Output tokens a call is assumed to take until the agent's own calls have shown better."""

CHARACTERS_PER_TOKEN = 3
"""On the careful side: English text has about four."""


@dataclass
class Tally:
    """What one work item has used, answers found in the journal included."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = Decimal(0)
    """US dollars; None as soon as one answer came from a model nobody knows the price of."""
    known_cost: Decimal = Decimal(0)
    tier: str | None = None
    model: str | None = None
    """Who gave the last answer."""

    def add(self, said: ModelCalled) -> None:
        """Count one answer."""
        self.requests += 1
        self.input_tokens += said.usage["input_tokens"]
        self.output_tokens += said.usage["output_tokens"]
        cost = Decimal(said.cost) if said.cost is not None else None
        self.known_cost += cost or 0
        self.cost = None if self.cost is None or cost is None else self.cost + cost
        self.tier, self.model = said.tier, said.model


@dataclass(frozen=True, kw_only=True)
class ModelRequestContext:
    """What a work item has for asking models."""

    journal: Journal
    recorded: Recorded
    prices: PriceTable
    budget: Budget | None
    breakers: Breakers
    ledger: Ledger
    outputs: dict[str, int]
    """The most output tokens seen in one answer, by tier; shared by the work of one agent."""


@dataclass(frozen=True)
class Request:
    """One request to a model."""

    key: str
    """What its answer is recorded under."""
    question: str
    """Its fingerprint."""
    size: int
    """About how many tokens it has."""
    messages: list[ModelMessage]
    settings: ModelSettings | None
    parameters: ModelRequestParameters

    async def send(self, tier: Tier) -> ModelResponse:
        """Ask the tier's model, in the form it understands."""
        messages = tier.model.prepare_messages(self.messages, self.parameters)
        return await tier.model.request(messages, self.settings, self.parameters)


class TieredModel(FallbackModel):
    """A pydantic-ai model that asks the journal, then the tiers in order, and records every answer."""

    def __init__(self, tiers: Sequence[Tier], call: AgentCall, context: ModelRequestContext) -> None:
        super().__init__(tiers[0].model, *(tier.model for tier in tiers[1:]))
        self.tally = Tally()
        self._tiers = list(tiers)
        self._call = call
        self._means = context

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The recorded answer to this request, or a new one, in the log before it is returned.

        Raises:
            BudgetExceeded, LimitReached, OutcomeUnknown: the call was not made.
            TransientError: no tier answered, and one of them may later.
            PermanentError: no tier will ever take this request.
        """
        key = model_key(self._call.key, self.tally.requests)
        question = fingerprint(messages, model_settings, model_request_parameters)
        event = self._means.recorded.find(key, lambda event: ModelCalled.of(event).request == question)
        if event is None:
            await ensure_nothing_in_doubt(self._means.ledger, self._call)
            size = _size(messages, model_request_parameters)
            self._check_limits(size)
            request = Request(key, question, size, messages, model_settings, model_request_parameters)
            event = await self._ask_tiers(request)
        said = ModelCalled.of(event)
        self.tally.add(said)
        return _response(said)

    def _check_limits(self, size: int) -> None:
        limits, tally = self._call.agent.limits, self.tally
        if tally.requests >= limits.requests:
            raise LimitReached(
                f"The agent {self._call.agent.id} has made all of its {limits.requests} requests.",
                remedy="Raise `limits.requests` of the agent, or make its task smaller.",
            )
        used = tally.input_tokens + tally.output_tokens
        if limits.tokens is not None and used + size > limits.tokens:
            raise LimitReached(
                f"The agent {self._call.agent.id} has used {used} of its {limits.tokens} tokens"
                f" and the next request needs about {size}.",
                remedy="Raise `limits.tokens` of the agent, or give it less to read.",
            )

    async def _ask_tiers(self, request: Request) -> Event:
        failures: list[TierFailure] = []
        while self._tiers:
            tier = self._tiers[0]
            estimate = await self._reserve(tier, request)
            cost, version = Decimal(0), None
            try:
                async with self._guard(tier), asyncio.timeout(self._call.request_timeout):
                    response = await request.send(tier)
                event = await self._record(request, tier, response, failures)
                cost, version = Decimal(ModelCalled.of(event).cost or 0), event.version
                return event
            except _TIER_FAILURES as error:
                # The automation says `when_open: wait`: the step waits for this tier in place of asking the next one.
                if isinstance(error, BreakerOpen) and self._waits(error):
                    raise
                # A tier that failed stays out for the rest of this work: one wait for it is enough.
                failures.append(TierFailure.of(self._tiers.pop(0), error, self._call.request_timeout))
                log.warning("agent %s: %s", self._call.agent.id, failures[-1].message)
            finally:
                # Also when it was cancelled: a reservation that stays would keep the run's other calls waiting.
                if self._means.budget is not None:
                    self._means.budget.settle(estimate, cost, version)
        raise _no_answer(self._call.agent.id, failures)

    def _guard(self, tier: Tier) -> Guard:
        name = f"tier:{tier.name}"
        return Guard(self._means.breakers, name, policy_of(self._call.settings, name), _judge)

    def _waits(self, error: BreakerOpen) -> bool:
        return policy_of(self._call.settings, error.name).when_open == "wait"

    async def _reserve(self, tier: Tier, request: Request) -> Decimal:
        """Set the call's likely cost aside; zero where nothing limits it and nobody knows the price.

        Raises:
            BudgetExceeded: the call would pass a limit.
            PermanentError: there is a limit, and without a price of the model it cannot be counted.
        """
        cap = (tier.model.settings or {}).get("max_tokens")
        output = cap or self._means.outputs.get(tier.name, FIRST_GUESS)
        estimate = self._means.prices.of_tokens(tier.model, request.size, output)
        agent, limit = self._call.agent, self._call.agent.limits.usd
        if estimate is None and (limit is not None or self._means.budget is not None):
            raise self._uncountable(tier)
        if limit is not None and self.tally.known_cost + (estimate or 0) >= limit:
            raise BudgetExceeded(
                f"The agent {agent.id} may spend ${limit} on this and has spent ${self.tally.known_cost};"
                f" the next call may cost ${estimate or 0}, so it was not made.",
                remedy="Raise `limits.usd` of the agent, or name a cheaper tier.",
            )
        if self._means.budget is not None:
            await self._means.budget.reserve(estimate or Decimal(0))
        return estimate or Decimal(0)

    def _uncountable(self, tier: Tier) -> PermanentError:
        agent, name = self._call.agent, tier.model.model_name
        limit = "`budget.usd` of the automation"
        if agent.limits.usd is not None:
            limit = f"`limits.usd` of the agent {agent.id}"
        return PermanentError(
            f"No price is known for {tier.label}, so {limit} cannot be counted, and it was not asked.",
            remedy=f"Give its price in US dollars for a million tokens, zero if it costs nothing, in settings.yaml:"
            f" `prices: {{{name}: {{input: 0.10, output: 0.30}}}}`; or take the limit away.",
        )

    async def _record(
        self, request: Request, tier: Tier, response: ModelResponse, failures: Sequence[TierFailure]
    ) -> Event:
        call, context = self._call, self._means
        usage = response.usage
        usage.cost = context.prices.of_response(response)
        if usage.cost is None:
            # A server may answer under a name that nobody has priced; what was asked for has a price.
            usage.cost = context.prices.of_tokens(tier.model, usage.input_tokens, usage.output_tokens)
        context.outputs[tier.name] = max(context.outputs.get(tier.name, 1), usage.output_tokens)
        said = ModelCalled(
            step=call.step,
            index=call.index,
            agent=call.agent.id,
            tier=tier.name,
            model=_name(tier, response),
            request=request.question,
            prompt=asked(request.messages),
            response=to_jsonable_python(response),
            usage={name: getattr(usage, name) for name in _COUNTED},
            cost=None if usage.cost is None else f"{usage.cost.normalize():f}",
            failed=[failure.as_data() for failure in failures],
        )
        new = said.event(actor=call.agent.id, key=request.key)
        event = await context.journal.record(new)
        if ModelCalled.of(event).request != request.question:
            # Another version of the program asked something else here first, so that answer keeps the key.
            event = await context.journal.record(replace(new, key=f"{request.key}~{request.question[:12]}"))
        return event


_TIER_FAILURES = (
    ModelAPIError,
    UnexpectedModelBehavior,
    FallbackExceptionGroup,
    TimeoutError,
    BreakerOpen,
    ProbeTimedOut,
)
"""What makes it the next tier's turn."""


@dataclass(frozen=True)
class TierFailure:
    """Why one tier gave no answer."""

    tier: str
    model: str
    kind: str
    message: str
    error_class: ErrorClass
    retry_after: float | None
    """Seconds the other side asked us to wait."""

    @classmethod
    def of(cls, tier: Tier, error: Exception, timeout: float) -> TierFailure:
        """What `error` means for `tier`."""
        errors = error.exceptions if isinstance(error, FallbackExceptionGroup) else (error,)
        asked = [inner.retry_after for inner in errors if isinstance(inner, ModelAPIError | BreakerOpen)]
        return cls(
            tier=tier.name,
            model=tier.model.model_name,
            kind=type(error).__name__,
            message=f"{tier.label} {_reason(errors[0], timeout)}",
            error_class=_together([_class_of(inner) for inner in errors]),
            retry_after=min(filter(None, asked), default=None),
        )

    def as_data(self) -> dict[str, object]:
        """JSON-ready, for the log."""
        error = {"class": self.kind, "message": self.message}
        return {"tier": self.tier, "model": self.model, "error": error}

    @property
    def may_pass(self) -> bool:
        """True when asking again later can help."""
        return self.error_class not in _FOR_GOOD


_FOR_GOOD = frozenset({ErrorClass.AUTH, ErrorClass.BAD_REQUEST, ErrorClass.PERMANENT})


def _judge(error: BaseException) -> Verdict:
    """A refusal is no failure of the tier: it is there and answers, so the breaker counts nothing."""
    errors = error.exceptions if isinstance(error, FallbackExceptionGroup) else (error,)
    failed = any(isinstance(inner, _TIER_FAILURES) and _class_of(inner) not in _FOR_GOOD for inner in errors)
    return "failure" if failed else "nothing"


def _class_of(error: Exception) -> ErrorClass:
    """What kind of failure an answer of pydantic-ai's clients is; the rest is known by its HTTP status."""
    match error:
        case ModelAuthenticationError():
            return ErrorClass.AUTH
        case ModelRequestRejectedError() | ContentFilterError():
            return ErrorClass.BAD_REQUEST
        case ModelQuotaExceededError():
            return ErrorClass.PERMANENT
        case ModelRateLimitError():
            return ErrorClass.RATE_LIMIT
        case ModelOverloadedError():
            return ErrorClass.OVERLOAD
        case ModelTimeoutError() | TimeoutError():
            return ErrorClass.TIMEOUT
        case UnexpectedModelBehavior():
            return ErrorClass.BAD_OUTPUT
    return classify(error)


def _together(kinds: Sequence[ErrorClass]) -> ErrorClass:
    """The kind of several failures together: those that may pass count first, and a kind only if they share it."""
    passing = {kind for kind in kinds if kind not in _FOR_GOOD}
    counted = passing or set(kinds)
    if len(counted) == 1:
        return counted.pop()
    return ErrorClass.TRANSIENT if passing else ErrorClass.PERMANENT


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, BreakerOpen):
        return "is left alone: its circuit breaker is open"
    if isinstance(error, TimeoutError):
        return f"did not answer within {timeout:g} seconds"
    if isinstance(error, ModelConnectionError):
        return f"cannot be reached: {error}"
    if isinstance(error, ModelRequestRejectedError | ModelQuotaExceededError | ContentFilterError):
        return f"refused the request: {error}"
    if isinstance(error, UnexpectedModelBehavior):
        return f"answered nonsense: {error}"
    return f"failed: {error}"


def _no_answer(agent: str, failures: Sequence[TierFailure]) -> TransientError | PermanentError:
    if failures and all(failure.kind == BreakerOpen.__name__ for failure in failures):
        soonest = min(failures, key=lambda failure: failure.retry_after or 0.0)
        return BreakerOpen(f"tier:{soonest.tier}", soonest.retry_after or 0.0)
    what = f"No model answered the agent {agent}: " + "; ".join(failure.message for failure in failures) + "."
    passing = [failure for failure in failures if failure.may_pass]
    kind = _together([failure.error_class for failure in failures])
    if not passing:
        return PermanentError(what, remedy="Mend the connection: its key, address and model name.", error_class=kind)
    asked = [failure.retry_after for failure in passing if failure.retry_after is not None]
    wait = min(asked) if len(asked) == len(passing) else None
    return TransientError(what, retry_after=wait, error_class=kind)


def _name(tier: Tier, response: ModelResponse) -> str:
    answered = response.model_name if isinstance(tier.model, FallbackModel) else None
    return answered or tier.model.model_name


def _size(messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> int:
    """About how many tokens a request has."""
    tools = (*parameters.function_tools, *parameters.output_tools)
    characters = len(ModelMessagesTypeAdapter.dump_json(list(messages)))
    characters += sum(len(str(tool.parameters_json_schema)) + len(tool.description or "") for tool in tools)
    return characters // CHARACTERS_PER_TOKEN


def _response(said: ModelCalled) -> ModelResponse:
    (response,) = ModelMessagesTypeAdapter.validate_python([said.response])
    assert isinstance(response, ModelResponse)
    return response
