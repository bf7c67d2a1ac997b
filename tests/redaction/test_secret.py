"""A `Secret` shows its value to nobody who does not ask for it."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import msgspec
import pytest

from executus import Secret, secret
from executus.redaction.vault import Vault

VALUE = "correct-horse-battery"


@pytest.mark.parametrize("one", [Secret(VALUE), Secret(VALUE).named("db")], ids=["unnamed", "named"])
def test_a_secret_is_shown_as_a_mark(one: Secret) -> None:
    mark = "[secret:db]" if one.name else "[secret:unnamed]"
    assert str(one) == f"{one}" == mark
    assert f"{one:>20}" == mark.rjust(20)
    assert repr(one) == f"Secret({mark})"
    assert json.dumps({"v": one}, default=str) == f'{{"v": "{mark}"}}'
    assert msgspec.json.encode([one], enc_hook=str).decode() == f'["{mark}"]'
    assert not hasattr(one, "__dict__")
    assert one.reveal() == VALUE


def test_a_secret_is_not_pickled_and_not_encoded_by_accident() -> None:
    one = Secret(VALUE).named("db")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="is not pickled") as caught:
            pickle.dumps(one, protocol)
        assert VALUE not in str(caught.value)
    with pytest.raises(TypeError):
        msgspec.json.encode(one)
    with pytest.raises(TypeError):
        json.dumps(one)


def test_copies_of_what_holds_a_secret_hold_the_same_one() -> None:
    @dataclasses.dataclass
    class Settings:
        token: Secret

    settings = Settings(Secret(VALUE))
    assert copy.copy(settings.token) is settings.token
    assert copy.deepcopy(settings).token is settings.token
    assert VALUE not in repr(dataclasses.asdict(settings))


def test_secrets_are_equal_by_value() -> None:
    assert Secret(VALUE) == Secret(VALUE).named("db")
    assert hash(Secret(VALUE)) == hash(Secret(VALUE).named("db"))
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != VALUE
    assert secret("db") == secret("db")
    assert secret("db") != secret("other")
    assert secret("db") != Secret(VALUE).named("db")


def test_a_reference_has_no_value() -> None:
    with pytest.raises(LookupError, match="'db' is filled in by a runtime"):
        secret("db").reveal()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("short12", "at least 8 characters, got 7"),
        ("  abc12  ", "at least 8 characters, got 5"),
        ("", "at least 8"),
        ("ababababab", "at least 4 different"),
        ("good-\ud800-one", "surrogates"),
    ],
)
def test_what_would_mask_ordinary_text_is_refused_without_being_shown(value: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Secret(value)
    assert not value.strip() or value.strip() not in str(caught.value)
    with pytest.raises(ValueError, match=f"secret 'db': .*{why}"):
        Vault({"db": value})


def test_no_text_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="expected text, got bytes") as caught:
        Secret(VALUE.encode())  # type: ignore[arg-type]
    assert VALUE not in str(caught.value)


# ------------------------------------------------------------------ the vault


def test_a_vault_gives_the_newest_value_and_masks_all() -> None:
    vault = Vault({"db": "the-first-value"})
    vault.add("db", Secret("the-second-value"))
    assert vault.get("db").reveal() == "the-second-value"
    assert str(vault.get("db")) == "[secret:db]"
    assert vault.redactor.text("the-first-value the-second-value") == "[secret:db] [secret:db]"
    with pytest.raises(LookupError, match="no secret named 'other' is registered"):
        vault.get("other")


@pytest.mark.parametrize(
    ("secrets", "error", "why"),
    [
        (["db"], TypeError, "expected a mapping"),
        ({"": VALUE}, ValueError, "secret, name"),
        ({"a b": VALUE}, ValueError, "secret, name"),
        ({"x" * 65: VALUE}, ValueError, "secret, name"),
        ({5: VALUE}, TypeError, "secret, name"),
        ({"db": 5}, TypeError, "secret 'db': expected text, got int"),
        ({"db": secret("other")}, ValueError, "got a reference"),
        ({"correct-horse": "correct-horse"}, ValueError, "a name that has a secret in it"),
        ({"a": "secret:b", "b": VALUE}, ValueError, "a name that has a secret in it"),
        ({"ghp_" + "a1B2" * 9: VALUE}, ValueError, "looks like one"),
    ],
)
def test_a_vault_refuses_what_it_could_not_mask_twice(secrets: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why) as caught:
        Vault(secrets)
    assert VALUE not in str(caught.value)


def test_a_refused_secret_leaves_the_vault_as_it_was() -> None:
    vault = Vault({"db": VALUE})
    before = vault.redactor
    with pytest.raises(ValueError):
        vault.add(VALUE, "another-one")
    assert vault.redactor is before
    assert vault.missing(["db", VALUE]) == [VALUE]


@pytest.mark.parametrize("masks", ["names", ("names", "other"), 5, True])
def test_unknown_masks_are_refused(masks: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="redact: expected"):
        Vault({}, masks)
