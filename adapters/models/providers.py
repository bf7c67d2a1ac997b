"""Real models, by "provider:name", through pydantic-ai's direct requests; its import waits for the first use."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...errors import ExtraMissing, ModelUnavailable
from ...ports import ModelRequest, Reply

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model as TheirModel

EXTRAS = {"openai": "openai", "openai-responses": "openai", "anthropic": "anthropic"}
"""Provider -> the extra of executus that brings its library; the extra has the library's name."""

OTHERS = (
    *("alibaba", "azure", "bedrock", "cerebras", "cohere", "deepseek", "fireworks", "github", "google", "groq"),
    *("heroku", "huggingface", "litellm", "meta", "mistral", "moonshotai", "nebius", "ollama", "openrouter"),
    *("ovhcloud", "sambanova", "together", "vercel", "vllm", "xai", "zai"),
)
"""Providers that need the extra `models` and the library pydantic-ai asks for."""

_SAYS_HOW_IT_ENDED = frozenset({"openai", "openai-responses", "anthropic"})


def resolve_model(name: str) -> ProviderModel:
    """The model that "provider:name" means, such as "openai:gpt-5-mini"; its library is loaded, which takes seconds.

    Raises:
        ValueError: no provider of this name; lists those there are.
        ExtraMissing: its library is not installed; says how to install it.
        ModelRefused: it cannot be used as configured, mostly for want of a key.
    """
    model = ProviderModel(name)
    model.load()
    return model


class ProviderModel:
    """A model of a real provider.

    name: "provider:model". base_url, api_key: instead of the provider's usual environment variables, such as
    OPENAI_BASE_URL and OPENAI_API_KEY. settings: of every request (`max_tokens`, `temperature`, `timeout` in seconds, …
    as pydantic-ai names them); those of a request go first. Nothing is retried here: the run does that.

    Raises:
        ValueError: not "provider:model", or no provider of this name.
        ExtraMissing: the provider's library is not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._provider, _, self._model_name = name.partition(":")
        if not self._provider or not self._model_name:
            raise ValueError(f"model: expected 'provider:name', such as 'openai:gpt-5-mini', got {name!r}")
        self._name = name
        self._given = {"base_url": base_url, "api_key": api_key}
        self._settings = dict(settings or {})
        self._loading = threading.Lock()
        self._spare: TheirModel | None = None
        # A client belongs to the event loop it is first used on; a model may be shared by several runtimes.
        self._models: WeakKeyDictionary[asyncio.AbstractEventLoop, TheirModel] = WeakKeyDictionary()
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = WeakKeyDictionary()
        _check_provider(self._provider)

    def __repr__(self) -> str:
        return f"ProviderModel({self._name!r})"

    @property
    def name(self) -> str:
        """What is recorded as the run's model."""
        return self._name

    def load(self) -> None:
        """Import the provider's library, which takes seconds, and check what can be checked without a request.

        Raises:
            ExtraMissing: the library is not installed.
            ModelRefused: it cannot be used as configured, mostly for want of a key.
            ValueError: the provider takes no base_url or api_key.
        """
        with self._loading:
            if self._spare is None:
                self._spare = self._build()

    async def reply(self, request: ModelRequest) -> Reply:
        """The model's answer. Cancelling the task stops the request.

        Raises:
            ModelUnavailable: it may answer later; carries the time the provider asked to wait.
            ModelRefused: it will not answer this.
            ExtraMissing, ValueError: as `load`.
        """
        model = await self._here()
        from .provider_errors import as_ours
        from .provider_messages import our_reply, their_messages, their_tools

        try:
            settings: Any = {**self._settings, **request.settings, "max_retries": 0}
            asked = their_messages(request.messages), settings, their_tools(request.tools)
            if request.on_delta is None:
                from pydantic_ai.direct import model_request

                messages, settings, tools = asked
                return our_reply(
                    await model_request(model, messages, model_settings=settings, model_request_parameters=tools)
                )
            return our_reply(await self._streamed(model, request, asked))
        except Exception as error:
            raise as_ours(error, self._name) from error

    async def _streamed(self, model: TheirModel, request: ModelRequest, asked: tuple[Any, Any, Any]) -> ModelResponse:
        from pydantic_ai.direct import model_request_stream

        from .provider_messages import finish_given, our_delta

        messages, settings, tools = asked
        async with model_request_stream(
            model, messages, model_settings=settings, model_request_parameters=tools
        ) as stream:
            async for event in stream:
                delta = our_delta(event, request)
                if delta is not None and request.on_delta is not None:
                    request.on_delta(delta)
        response = stream.get()
        if self._provider in _SAYS_HOW_IT_ENDED and not finish_given(response):
            # The library takes the end of a broken connection for the end of the reply.
            raise ModelUnavailable(f"{self._name}: the stream ended before the reply was complete")
        return response

    async def close(self) -> None:
        """Close the connections that this event loop opened, as the end of the loop does; a request opens new ones."""
        open_here = self._open.get(asyncio.get_running_loop())
        if open_here is not None:
            await open_here.aclose()

    async def _here(self) -> TheirModel:
        loop = asyncio.get_running_loop()
        if loop not in self._models:
            await asyncio.to_thread(self.load)
        if loop not in self._models:  # nobody was faster
            with self._loading:
                model, self._spare = self._spare, None
            self._models[loop] = model or self._build()
            self._open[loop] = self._connections(loop)
            await anext(self._open[loop])
        return self._models[loop]

    async def _connections(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        """Holds this loop's connections; a generator, as a loop that ends in order closes those that it started."""
        async with self._models[loop]:
            try:
                yield
            finally:
                del self._models[loop], self._open[loop]

    def _build(self) -> TheirModel:
        try:
            from pydantic_ai.models import infer_model
            from pydantic_ai.providers import infer_provider_class
        except ImportError as error:
            raise ExtraMissing(f"model {self._name}", EXTRAS.get(self._provider, "models")) from error
        from .provider_errors import as_ours

        given = {key: value for key, value in self._given.items() if value is not None}

        def provider(name: str) -> Any:
            kind = infer_provider_class(name)
            takes = inspect.signature(kind.__init__).parameters
            for key in given:
                if key not in takes:
                    raise ValueError(f"model {self._name}: provider {self._provider} takes no {key}")
            return kind(**given)

        # The library's "openai" is the Responses API; ours is what every compatible server speaks.
        prefix = "openai-chat" if self._provider == "openai" else self._provider
        try:
            return infer_model(f"{prefix}:{self._model_name}", provider)
        except ImportError as error:
            if self._provider in EXTRAS:
                raise ExtraMissing(f"model {self._name}", EXTRAS[self._provider]) from error
            raise ExtraMissing(f"model {self._name}", self._provider, "pydantic-ai-slim") from error
        except ValueError:
            raise
        except Exception as error:
            raise as_ours(error, self._name) from error


def _check_provider(provider: str) -> None:
    if provider in EXTRAS:
        extra = EXTRAS[provider]
        if not all(importlib.util.find_spec(library) for library in ("pydantic_ai", extra)):
            raise ExtraMissing(f"provider {provider}", extra)
    elif provider not in OTHERS and not _known_to_the_library(provider):
        known = ", ".join(sorted((*EXTRAS, *OTHERS)))
        raise ValueError(f"model: no provider {provider!r}; known are: {known}")
    elif not importlib.util.find_spec("pydantic_ai"):
        raise ExtraMissing(f"provider {provider}", "models")


def _known_to_the_library(provider: str) -> bool:
    """Ask pydantic-ai, which may be newer than the list here; only for names that are not on it."""
    if not importlib.util.find_spec("pydantic_ai"):
        return False
    from pydantic_ai.providers import infer_provider_class

    try:
        infer_provider_class(provider)
    except ValueError:
        return False
    except ImportError:  # known, and its own library is missing
        return True
    return True
