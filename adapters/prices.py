"""What model calls cost: by a maintained price list, or by a table of the host's own. Never asks the network.

`Usage.input` counts all input tokens, those read from or written to a provider's cache too; here each is paid once.
"""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import ExtraMissing
from ..events import Usage

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

MILLION = 1_000_000
MODELS_KEPT = 1000

Row: TypeAlias = tuple[float, float, float, float]
"""Dollars per million tokens of input, output, cache read, cache write."""


class FixedPrices:
    """`Prices` from a table: "provider:name" -> dollars per million tokens of (input, output), or of (input, output,
    cache read, cache write); cached tokens without a price of their own cost what input costs.

    version: shown to people, and what these prices are known by again; by default it is made of the table.

    Raises:
        TypeError, ValueError: a row is not 2 to 4 prices of 0 or more.
    """

    def __init__(self, prices: Mapping[str, Sequence[float]], version: str = "") -> None:
        self._rows = {model: _row(model, row) for model, row in prices.items()}
        self._version = version or f"fixed {hashlib.sha256(repr(sorted(self._rows.items())).encode()).hexdigest()[:12]}"

    def __repr__(self) -> str:
        return f"FixedPrices({self._rows!r}, version={self._version!r})"

    @property
    def version(self) -> str:
        """The table's name."""
        return self._version

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """Dollars, or None if the table has no such model."""
        row = self._rows.get(model)
        return None if row is None else _dollars(row, usage)


def _dollars(row: Row, usage: Usage) -> float:
    read, written, fresh = _parts_of_input(usage)
    rate_in, rate_out, rate_read, rate_write = row
    dollars = fresh * rate_in + max(0, usage.output) * rate_out + read * rate_read + written * rate_write
    return dollars / MILLION


def _row(model: str, row: Any) -> Row:
    expected = f"prices of {model!r}: expected (input, output[, cache read, cache write]) in dollars per million tokens"
    if isinstance(row, (str, bytes)) or not isinstance(row, Sequence) or not 2 <= len(row) <= 4:  # pyright: ignore[reportUnknownArgumentType]
        raise TypeError(f"{expected}, got {row!r}")
    given: list[Any] = [*row]  # pyright: ignore[reportUnknownArgumentType]
    for price in given:
        if isinstance(price, bool) or not isinstance(price, (int, float)):
            raise TypeError(f"{expected}, got {row!r}")
        if not math.isfinite(price) or price < 0:
            raise ValueError(f"{expected}, each 0 or more, got {row!r}")
    given += [given[0]] * (4 - len(given))
    return given[0], given[1], given[2], given[3]


def _parts_of_input(usage: Usage) -> tuple[int, int, int]:
    """Tokens read from cache, written to cache, and the others. A provider may count the cached ones beside `input`."""
    read, written = max(0, usage.cache_read), max(0, usage.cache_write)
    return read, written, max(0, usage.input - read - written)


class GenaiPrices:
    """`Prices` by the table that comes with the installed genai-prices; install a newer one for newer prices.

    Prices that depend on the date are those of `as_of` (None: of the day this was made), at noon UTC, so that a call
    costs the same whenever it is asked. A call to one of its long-context tiers is priced as such.

    Raises:
        ExtraMissing: genai-prices is not installed.
    """

    def __init__(self, as_of: datetime.date | None = None) -> None:
        try:
            import genai_prices
            from genai_prices.data import providers
            from genai_prices.data_snapshot import DataSnapshot
        except ImportError as error:
            raise ExtraMissing("GenaiPrices", "prices") from error
        day = as_of or datetime.datetime.now(datetime.UTC).date()
        self._at = datetime.datetime(day.year, day.month, day.day, 12, tzinfo=datetime.UTC)
        # Our own snapshot: the library's shared one may be replaced by an update from the network.
        self._table = DataSnapshot(providers=providers, from_auto_update=False)
        self._usage = genai_prices.Usage
        self._version = f"genai-prices {genai_prices.__version__}, as of {day.isoformat()}"
        self._known: dict[str, Row | Literal["theirs"] | None] = {}

    def __repr__(self) -> str:
        return f"GenaiPrices(as_of={self._at.date()!r})"

    @property
    def version(self) -> str:
        """The library's version and the day."""
        return self._version

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """Dollars for `usage` of "provider:name", or None if the table has no such provider, model or price."""
        if model not in self._known:
            if len(self._known) >= MODELS_KEPT:
                self._known.clear()
            self._known[model] = self._look_up(model)
        row = self._known[model]
        if row is None:
            return None
        return _dollars(row, usage) if isinstance(row, tuple) else float(self._price(model, usage).total_price)

    def _look_up(self, model: str) -> Row | Literal["theirs"] | None:
        """The row of a model whose price is four plain rates: the library takes 0.2 ms for each call."""
        try:
            of_nothing = self._price(model, Usage())
        except LookupError:
            return None
        found: Any = of_nothing.model_price
        rates = [found.input_mtok, found.output_mtok, found.cache_read_mtok, found.cache_write_mtok]
        if rates[0] is None and rates[1] is None:
            return None  # not sold by the token
        if of_nothing.total_price:  # a fee for each request
            return "theirs"
        try:
            rate_in, rate_out = [0.0 if rate is None else float(rate) for rate in rates[:2]]
            rate_read, rate_write = [rate_in if rate is None else float(rate) for rate in rates[2:]]
        except TypeError:  # dearer from some number of input tokens on
            return "theirs"
        return rate_in, rate_out, rate_read, rate_write

    def _price(self, model: str, usage: Usage) -> PriceCalculation:
        provider, _, name = model.partition(":")
        if not provider or not name:
            raise LookupError(model)
        read, written, fresh = _parts_of_input(usage)
        theirs = self._usage(
            input_tokens=fresh + read + written,
            output_tokens=max(0, usage.output),
            cache_read_tokens=read,
            cache_write_tokens=written,
        )
        return self._table.calc(theirs, name, provider, None, self._at)
