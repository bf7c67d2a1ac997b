"""What shows as a secret by its name or its shape is masked; what only resembles one is left alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_secrets import SHAPED

from executus.redaction import Redactor
from executus.redaction.names import certainty
from executus.redaction.shapes import SHAPES

REDACTOR = Redactor()
B = "[secret:by-name]"


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("around", ["{}", "it is {}.", '{{"v":"{}"}}', "\n\t({})\n", "é漢{},", "a=1&v={}&w=2"])
def test_a_shape_is_masked_wherever_it_stands(name: str, around: str) -> None:
    masked = REDACTOR.text(around.format(SHAPED[name]))
    assert SHAPED[name] not in masked
    assert f"[secret:{name.split(' ')[0].rstrip(',')}#" in masked
    assert REDACTOR.text(masked) == masked


def test_every_shape_has_an_example() -> None:
    assert {name for name, _, _ in SHAPES} <= {name.split(" ")[0] for name in SHAPED}


def test_two_secrets_of_a_shape_stay_two_and_the_same_one_stays_one() -> None:
    one, other = SHAPED["github-token"], SHAPED["github-token"].replace("a1", "b2")
    assert REDACTOR.text(one) == REDACTOR.text(one)
    assert REDACTOR.text(one) != REDACTOR.text(other)


@pytest.mark.parametrize(
    "text",
    [
        "task-learn-based-classification-model-2024X",
        "sk-learn-based-classification-of-long-names",
        "the ghp_ prefix, and AKIA too; glpat- as well",
        "-----BEGIN RSA PRIVATE KEY----- is the first line of such a file",
        "-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEA75bc\n-----END CERTIFICATE-----",
        "eyJ is how JSON begins in base64; eyJhbGciOiJIUzI1NiJ9 alone is a header",
        "0123456789abcdef" * 4,
        "123e4567-e89b-12d3-a456-426614174000",
        "get_reservation_details_of_all_passengers(user_id='mia_li_3668')",
        "xoxo-love-and-kisses-from-the-team",
        "hf_hub_download_of_a_large_model_file_x",
        "MAKIAVELLI0123456789ABCDEF",
    ],
)
def test_what_only_resembles_a_shape_is_left(text: str) -> None:
    assert REDACTOR.text(text) is text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"password": "hunter2-and-more"}', f'{{"password": "{B}"}}'),
        ('{"db":{"Password":"hunter2"}}', f'{{"db":{{"Password":"{B}"}}}}'),
        ('{"password": "with \\" a quote"}', f'{{"password": "{B}"}}'),
        ("{'passwd': 'hunter2'}", f"{{'passwd': '{B}'}}"),
        ('"{\\"api_key\\": \\"abcd1234efgh5678\\"}"', f'"{{\\"api_key\\": \\"{B}\\"}}"'),
        ("DB_PASSWORD=abc123x\nHOME=/root", f"DB_PASSWORD={B}\nHOME=/root"),
        ("export STRIPE_SECRET='abc-123-xyz'", f"export STRIPE_SECRET='{B}'"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1", f"AWS_SECRET_ACCESS_KEY={B}"),
        ("Authorization: Bearer abcdef123456789", f"Authorization: Bearer {B}"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZDE=", f"Authorization: Basic {B}"),
        ('"authorization": "Bearer abcdef123456789"', f'"authorization": "Bearer {B}"'),
        ("X-Api-Key: abcd1234efgh", f"X-Api-Key: {B}"),
        ("Cookie: session=0123456789abcdef; theme=dark", f"Cookie: {B}"),
        ("https://h/p?access_token=abc123def456ghi&x=1", f"https://h/p?access_token={B}&x=1"),
        ("postgres://app:hunter2@db:5432/x", f"postgres://app:{B}@db:5432/x"),
        ("redis://:hunter2@cache", f"redis://:{B}@cache"),
        ("Server=db;User=app;Password=hunter2;", f"Server=db;User=app;Password={B};"),
        ("refreshToken: 'abcdef123456789'", f"refreshToken: '{B}'"),
        ("client_secret => abc123def456", f"client_secret => {B}"),
        ("--token=abcdef123456789", f"--token={B}"),
        ("the password is: see below. password: hunter2.", f"the password is: see below. password: {B}."),
        ("AccountKey=abc123DEF456ghi789==;", f"AccountKey={B};"),
    ],
)
def test_what_stands_under_the_name_of_a_secret_is_masked(text: str, masked: str) -> None:
    assert REDACTOR.text(text) == masked
    assert REDACTOR.text(masked) is masked


@pytest.mark.parametrize(
    "text",
    [
        '{"max_tokens": 100, "token_count": "123456789012a"}',
        '{"primary_key": "abc123456789", "key": "value123456789"}',
        '{"idempotency_key": "order-123-abc-456", "cache_key": "user:12345:abc"}',
        '{"next_page_token": "abc123def456ghi"}',
        '{"keyboard": "qwerty123456"}',
        '{"password": "required", "token": "string"}',
        '{"password": "", "secret": null, "token": false}',
        '{"password": {"type": "string", "minLength": 8}}',
        '{"secret_name": "prod/db/password1", "secret_id": "abc123456789"}',
        "password: ${DB_PASSWORD1}",
        "api_key = os.environ['API_KEY']",
        "token = settings.github.token1",
        "password = get_password1()",
        '"password": "<your password>"',
        "api_key: your-api-key-123",
        "the secret of good tea: 3 minutes",
        "token: a unit of text. tokens: many of them",
        "PWD=/home/me1/project",
        "public_key: abcdef1234567890",
        '"tokenizer": "cl100k_base_2024"',
        "monkey: see123456789",
        "https://example.org:8080/a@b",
        "https://user@example.org/path:x@y",
        "forgot your password? see page: 12",
        "Your password must have: 8 characters",
        "def f(password: str | None = None, api_key: str = '') -> None",
        "getpass(prompt='Password: ', stream=None, other='12345678')",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:my-database-1a2b3c",
        'FORCE_CHANGE_PASSWORD = "FORCE_CHANGE_PASSWORD"',
        "such as https://user:pass@host/path",
        "password=****** token=xxxxxxxxxxxx",
    ],
)
def test_what_is_no_secret_under_such_a_name_is_left(text: str) -> None:
    assert REDACTOR.text(text) is text


def test_a_mapping_is_masked_by_its_keys() -> None:
    evidence = {"password": "hunter2", "nested": [{"api_key": "abcd1234efgh"}], "max_tokens": "100", "key": "v"}
    assert REDACTOR.data(evidence) == {
        "password": B,
        "nested": [{"api_key": B}],
        "max_tokens": "100",
        "key": "v",
    }
    assert evidence["password"] == "hunter2"
    assert REDACTOR.data({"Authorization": "Bearer abcdef123456"}) == {"Authorization": f"Bearer {B}"}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("password", "plain"),
        ("DB_PASSWORD", "plain"),
        ("clientSecret", "plain"),
        ("db_pwd", "plain"),
        ("pwd", ""),
        ("X-API-Key", "likely"),
        ("apikey", "likely"),
        ("OPENAI_API_KEY", "likely"),
        ("accessToken", "likely"),
        ("token", "likely"),
        ("max_token", ""),
        ("tokens", ""),
        ("tokenCount", ""),
        ("foreign_key", ""),
        ("keys", ""),
        ("", ""),
    ],
)
def test_a_name_counts_by_its_last_words(name: str, is_one: str) -> None:
    assert certainty(name) == is_one


def test_each_mask_can_be_left_out() -> None:
    text = "password=hunter2 " + SHAPED["github-token"]
    assert Redactor(masks=()).text(text) is text
    assert "hunter2" in Redactor(masks=("shapes",)).text(text)
    assert SHAPED["github-token"] in Redactor(masks=("names",)).text(text)
    assert Redactor(masks=()).idle
    assert not Redactor(masks=("names",)).idle


PIECES = [*SHAPED.values(), 'password="hunter2"', "token=abc123def456", "Cookie: a=0123456789", "[secret:s]", " ", "x="]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=8))
@settings(max_examples=400, deadline=None)
def test_masking_again_changes_nothing(pieces: list[str]) -> None:
    masked = REDACTOR.text("".join(pieces))
    assert REDACTOR.text(masked) == masked


def test_long_texts_of_every_kind_take_no_long_time() -> None:
    """Each would take minutes if an expression went back and forth over it."""
    rng = random.Random(1)
    for unit in (
        "a",
        "eyJ",
        "-----BEGIN PRIVATE KEY-----\n",
        "password=",
        "A=",
        "://",
        "a.",
        "\\",
        'key": "',
        "sk-aA1",
    ):
        text = unit * (200_000 // len(unit))
        REDACTOR.text(text)
        REDACTOR.text(text + "".join(rng.choices("abc \n", k=50)))
