"""Errors travel: between threads as copies, between processes as pickles."""

from __future__ import annotations

import copy
import pickle

import pytest

from executus import errors

ONE_OF_EACH = [
    errors.MessageRefused("r", "m", "w"),
    errors.UnknownAgent("a", ("b",)),
    errors.Overloaded("w", 1, "s"),
    errors.JournalTooNew("p", 2, 1),
    errors.LogCorrupt("r", 3, "w"),
    errors.RunQuarantined("r", "w"),
    errors.ModelUnavailable("w", 2.0),
]


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_survives_copying_and_pickling(error: errors.ExecutusError) -> None:
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert (str(other), vars(other)) == (str(error), vars(error))
        assert other is not error
