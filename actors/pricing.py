"""The host's prices, as functions that do not raise."""

from __future__ import annotations

import logging
import math

from ..events import Usage
from ..ports import Prices
from ..projections.ledger import Price

log = logging.getLogger("executus.budget")


def contained(prices: Prices) -> Price:
    """The host's prices as a function that does not raise: what it raises is logged, and the price is not known. Nor is
    one that is no amount of dollars.
    """

    def price(model: str, usage: Usage) -> float | None:
        try:
            cost = prices.cost_usd(model, usage)
            return None if cost is None or not 0 <= cost < math.inf else float(cost)
        except Exception:
            log.exception("the price of %s cannot be told", model)
            return None

    return price
