"""What model calls cost."""

from __future__ import annotations

import datetime
import socket
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executus.adapters.prices import FixedPrices, GenaiPrices
from executus.errors import ExtraMissing
from executus.events import Usage
from executus.ports import Prices

DAY = datetime.date(2025, 11, 1)
MILLION = 1_000_000


def test_fixed_prices_are_dollars_per_million_tokens() -> None:
    prices: Prices = FixedPrices({"x:two": (1.0, 10.0), "x:four": (1.0, 10.0, 0.1, 1.25)}, version="mine")
    assert prices.version == "mine"
    assert prices.cost_usd("x:two", Usage(input=MILLION, output=MILLION)) == 11.0
    usage = Usage(input=10 * MILLION, output=0, cache_read=4 * MILLION, cache_write=2 * MILLION)
    assert prices.cost_usd("x:two", usage) == 10.0
    assert prices.cost_usd("x:four", usage) == pytest.approx(4 * 1.0 + 4 * 0.1 + 2 * 1.25)
    assert prices.cost_usd("x:three", usage) is None


def test_thinking_is_part_of_the_output_and_not_paid_twice() -> None:
    usage = Usage(output=MILLION, thinking=MILLION)
    assert FixedPrices({"m": (0, 3)}).cost_usd("m", usage) == 3.0
    assert GenaiPrices(DAY).cost_usd("openai:gpt-5-mini", usage) == pytest.approx(2.0)


@pytest.mark.parametrize("row", [(1,), (1, 2, 3, 4, 5), "12", ("1", 2), (1, True), (1, -2), (float("nan"), 1), 5, None])
def test_a_row_that_is_no_prices_is_refused_when_it_is_given(row: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"prices of 'm': expected \(input, output"):
        FixedPrices({"m": row})


def test_the_maintained_list_knows_models_by_the_names_that_runs_use() -> None:
    prices: Prices = GenaiPrices(DAY)
    usage = Usage(input=MILLION)
    assert prices.cost_usd("openai:gpt-5-mini", usage) == pytest.approx(0.25)
    assert prices.cost_usd("openai-responses:gpt-5-mini", usage) == pytest.approx(0.25)
    assert prices.cost_usd("openai:gpt-5-mini-2025-08-07", usage) == pytest.approx(0.25)
    for name in ("anthropic:claude-sonnet-4-5", "google:gemini-2.5-pro", "xai:grok-4"):
        assert prices.cost_usd(name, usage), name


def test_cached_tokens_are_part_of_the_input_and_paid_at_their_own_rate() -> None:
    prices = GenaiPrices(DAY)
    all_cached = Usage(input=MILLION, cache_read=MILLION)
    assert prices.cost_usd("openai:gpt-5-mini", all_cached) == pytest.approx(0.025)
    beside = Usage(input=0, cache_read=MILLION)
    assert prices.cost_usd("openai:gpt-5-mini", beside) == pytest.approx(0.025), "counted beside the input"
    written = Usage(input=1000, cache_write=1000)
    assert prices.cost_usd("anthropic:claude-sonnet-4-5", written) == pytest.approx(1000 * 3.75 / MILLION)


@pytest.mark.parametrize("name", ["openai:no-such-model", "nobody:gpt-5", "gpt-5", "", ":", "openai:", "a:b:c"])
def test_what_the_list_does_not_know_is_not_known(name: str) -> None:
    prices = GenaiPrices(DAY)
    assert prices.cost_usd(name, Usage(input=1)) is None
    assert prices.cost_usd(name, Usage(input=1)) is None, "asked again"


def names() -> list[str]:
    from genai_prices.data import providers

    return [f"{provider.id}:{model.id}" for provider in providers for model in provider.models]


@given(
    st.sampled_from(names()),
    st.builds(Usage, input=st.integers(0, MILLION), output=st.integers(0, MILLION), cache_read=st.integers(0, 2000)),
)
def test_our_short_way_agrees_with_the_library(name: str, usage: Usage) -> None:
    prices = GenaiPrices(DAY)
    ours = prices.cost_usd(name, usage)
    if ours is not None:
        theirs = prices._price(name, usage).total_price
        assert ours == pytest.approx(float(theirs))


def test_prices_with_tiers_and_fees_are_the_librarys_own() -> None:
    prices = GenaiPrices(DAY)
    short = prices.cost_usd("anthropic:claude-sonnet-4-5", Usage(input=100_000))
    long = prices.cost_usd("anthropic:claude-sonnet-4-5", Usage(input=1_000_000))
    assert short is not None
    assert long is not None
    assert long > 10 * short
    fee = prices.cost_usd("perplexity:sonar", Usage())
    assert fee is not None
    assert fee > 0


def test_the_day_is_part_of_the_version_and_fixed_for_good() -> None:
    prices = GenaiPrices(DAY)
    assert prices.version.startswith("genai-prices ")
    assert prices.version.endswith("2025-11-01")
    assert "as of 20" in GenaiPrices().version


def test_nothing_asks_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert GenaiPrices(DAY).cost_usd("openai:gpt-5-mini", Usage(input=1))


def test_without_the_library_the_error_is_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'executus\[prices\]'"):
        GenaiPrices()
