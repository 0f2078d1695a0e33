"""What a model call costs: the list that genai-prices ships, and a site's own prices before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from muster.errors import PermanentError

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model

Prices = Mapping[str, Mapping[str, object]]
"""By the beginning of a model's name: `input` and `output`, in US dollars for a million tokens."""

OWN = "muster"


class PriceTable:
    """Prices of models, a site's own first."""

    def __init__(self, own: Prices) -> None:
        self._own = _snapshot(own) if own else None

    def of_response(self, response: ModelResponse) -> Decimal | None:
        """US dollars the response cost; None when nobody knows the model's price."""
        usage = response.usage
        if usage.cost is not None:
            return usage.cost
        return self._price(usage, response.model_name, response.provider_name, response.provider_url)

    def of_tokens(self, model: Model, input_tokens: int, output_tokens: int) -> Decimal | None:
        """US dollars so many tokens would cost with `model`; None when nobody knows."""
        from genai_prices import Usage

        model = getattr(model, "models", [model])[0]
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        return self._price(usage, model.model_name, model.system, model.base_url)

    def _price(self, usage: object, name: str | None, provider: str | None, url: str | None) -> Decimal | None:
        from genai_prices.data_snapshot import get_snapshot

        if not name:
            return None
        attempts: list[tuple[DataSnapshot | None, str | None, str | None]] = [
            (self._own, OWN, None),
            (get_snapshot(), None, url),
            (get_snapshot(), provider, None),
        ]
        for snapshot, provider_id, api_url in attempts:
            if snapshot is None or not (provider_id or api_url):
                continue
            try:
                return snapshot.calc(usage, name, provider_id, api_url, None).total_price
            except (LookupError, ValueError):
                continue
        return None


def price_table(settings: Mapping[str, object]) -> PriceTable:
    """The table for an automation's settings; `settings.prices` are the site's own prices.

    Raises:
        PermanentError: a price in `settings.prices` is no number of US dollars; the remedy shows the form.
    """
    return _table(json.dumps(settings.get("prices") or {}, sort_keys=True, default=str))


@lru_cache(maxsize=64)
def _table(prices: str) -> PriceTable:
    return PriceTable(json.loads(prices))


def _snapshot(own: Prices) -> DataSnapshot:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ClauseStartsWith, ModelInfo, ModelPrice, Provider

    # The longest beginning first: `gpt-5-mini` must not be priced as `gpt-5`.
    models = [
        ModelInfo(
            id=name,
            match=ClauseStartsWith(starts_with=name.lower()),
            prices=ModelPrice(input_mtok=_dollars(name, entry, "input"), output_mtok=_dollars(name, entry, "output")),
        )
        for name, entry in sorted(own.items(), key=lambda item: -len(item[0]))
    ]
    provider = Provider(id=OWN, name="Own prices", api_pattern="(?!)", models=models)
    return DataSnapshot(providers=[provider], from_auto_update=False)


def _dollars(name: str, entry: Any, side: str) -> Decimal:
    try:
        price = Decimal(str(entry[side]))
    except (KeyError, TypeError, InvalidOperation):
        price = Decimal(-1)
    if not (price.is_finite() and price >= 0):
        raise PermanentError(
            f"settings.prices.{name} gives no usable {side} price.",
            remedy="Write US dollars for a million tokens, for example {input: 0.15, output: 0.60}.",
        )
    return price
