"""What went wrong at a provider, told apart by whose move comes next. Loaded with the provider's library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic_ai import exceptions as theirs

from ...errors import ModelRefused, ModelUnavailable

PASSING_STATUSES = frozenset({408, 409, 425, 429, 529})
"""HTTP statuses, besides 5xx, after which the same request may succeed."""

_PASSING = (
    theirs.ModelRateLimitError,
    theirs.ModelUnavailableError,
    theirs.ModelServerError,
    theirs.ModelConnectionError,
    theirs.ModelRequestTimeout,
)
_FINAL = (theirs.ModelQuotaExceededError, theirs.ModelRequestRejectedError, theirs.ContentFilterError, theirs.UserError)


def as_ours(error: Exception, name: str) -> ModelUnavailable | ModelRefused:
    """`error`, raised while `name` was asked, as one of the two errors a run can act on."""
    match error:
        case ModelUnavailable() | ModelRefused():
            return error
        case theirs.ModelQuotaExceededError():  # also with status 429: waiting does not fill an account
            return ModelRefused(f"{name}: {_sentence(error)}")
        case theirs.ModelHTTPError():
            why = f"{name}: HTTP {error.status_code}: {_sentence(error)}"
            if error.status_code in PASSING_STATUSES or error.status_code >= 500:
                return ModelUnavailable(why, _wait(error))
            return ModelRefused(why)
        case _ if isinstance(error, _FINAL):
            return ModelRefused(f"{name}: {_sentence(error)}")
        case _ if isinstance(error, _PASSING):
            return ModelUnavailable(f"{name}: {_sentence(error)}", _wait(error))
        case theirs.ModelAPIError() | theirs.UnexpectedModelBehavior():  # an answer that broke off or makes no sense
            return ModelUnavailable(f"{name}: {_sentence(error)}", _wait(error))
        case OSError():
            return ModelUnavailable(f"{name}: {type(error).__name__}: {error}")
        case _ if _is_transport(error) or _is_nonsense(error):
            return ModelUnavailable(f"{name}: {type(error).__name__}: {error}")
        case _:
            return ModelRefused(f"{name}: {type(error).__name__}: {error}")


def _wait(error: Exception) -> float | None:
    seconds = getattr(error, "retry_after", None)
    return float(seconds) if isinstance(seconds, (int, float)) and 0 <= seconds < float("inf") else None


def _sentence(error: Exception) -> str:
    """The provider's own message, without the wrapping that each library adds."""
    found: Any = getattr(error, "body", None)
    for key in ("error", "message"):
        if isinstance(found, Mapping):
            found = cast("Mapping[str, Any]", found).get(key, found)
    if isinstance(found, str) and found.strip():
        return found.strip()
    return str(getattr(error, "message", "") or error) or type(error).__name__


def _is_transport(error: Exception) -> bool:
    """An error of an HTTP library that nobody wrapped, wherever it comes from."""
    return any(
        kind.__module__.partition(".")[0] in ("httpx2", "httpx", "httpcore2", "httpcore", "anyio")
        for kind in type(error).__mro__
    )


def _is_nonsense(error: Exception) -> bool:
    """The body was not what the protocol says: broken JSON, another shape."""
    return isinstance(error, ValueError) and any(
        kind.__name__ in ("JSONDecodeError", "ValidationError", "UnicodeDecodeError", "APIResponseValidationError")
        for kind in type(error).__mro__
    )
