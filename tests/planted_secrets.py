"""Secrets for tests, and how foreign programs write them: encoders of the standard library, none of ours."""

from __future__ import annotations

import base64
import html
import json
import random
import string
from collections.abc import Callable
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

ALNUM = string.ascii_letters + string.digits
ODD = ALNUM + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ éß漢😀"

secret_values: st.SearchStrategy[str] = st.one_of(
    st.text(alphabet=ALNUM, min_size=8, max_size=64),
    st.text(alphabet=ODD, min_size=10, max_size=60),
).filter(lambda text: len(text.strip()) >= 8 and len(set(text)) >= 6 and "secret" not in text)


def random_secret(rng: random.Random, size: int = 0, alphabet: str = ALNUM) -> str:
    """One that no text has by chance."""
    return "".join(rng.choices(alphabet, k=size or rng.randint(12, 48)))


def _units(text: str) -> list[str]:
    data = text.encode("utf-16-be")
    return [data[place : place + 2].hex() for place in range(0, len(data), 2)]


WRITTEN: dict[str, Callable[[str], str]] = {
    "raw": lambda text: text,
    "json": lambda text: json.dumps({"v": text}),
    "json, letters as they are": lambda text: json.dumps([text], ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps({"v": text})),
    "json in json in json": lambda text: json.dumps(json.dumps(json.dumps([text], ensure_ascii=False))),
    "json, slashes escaped": lambda text: json.dumps(text).replace("/", "\\/"),
    "json, all escaped": lambda text: "".join(["\\u" + unit for unit in _units(text)]),
    "json, all escaped, upper case": lambda text: "".join(["\\u" + unit.upper() for unit in _units(text)]),
    "json, safe in html": lambda text: (
        json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    ),
    "url": lambda text: f"https://h/p?q={quote(text, safe='')}&x=1",
    "url, slashes left": quote,
    "url, plus": quote_plus,
    "url, lower case": lambda text: "".join(
        [one if one.isascii() and one.isalnum() else quote(one, safe="").lower() for one in text]
    ),
    "url, all escaped": lambda text: "".join([f"%{byte:02X}" for byte in text.encode()]),
    "url of json": lambda text: quote(json.dumps(text)[1:-1], safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, no padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64, after one byte": lambda text: base64.b64encode(b"x" + text.encode() + b"yz").decode(),
    "base64, after two bytes": lambda text: base64.b64encode(b"u:" + text.encode()).decode(),
    "base64, of basic auth": lambda text: "Basic " + base64.b64encode(b"user:" + text.encode()).decode(),
    "base64, url-safe": lambda text: base64.urlsafe_b64encode(b"ab" + text.encode() + b"c").decode(),
    "base64, url-safe, aligned": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 in a url": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "hex": lambda text: text.encode().hex(),
    "hex, upper case": lambda text: text.encode().hex().upper(),
    "hex, after a byte": lambda text: ("k" + text).encode().hex(),
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "json of repr": lambda text: json.dumps(repr({"v": text})),
    "html": html.escape,
}
"""Ways to write a secret; each keeps it readable for whoever knows the way."""


def leaks(secret: str, text: str) -> list[str]:
    """The ways in which `secret` still stands in `text`, whole."""
    return [way for way, write in WRITTEN.items() if _core(way, write, secret) in text]


def _core(way: str, write: Callable[[str], str], secret: str) -> str:
    """What of the written secret depends on it alone."""
    if way.startswith("base64"):
        before = {"base64, after one byte": 1, "base64, after two bytes": 2, "base64, of basic auth": 2}.get(way, 0)
        before = 2 if way == "base64, url-safe" else before
        data = secret.encode()
        encode = base64.urlsafe_b64encode if "url-safe" in way else base64.b64encode
        text = encode(b"\x00" * before + data).decode()
        return text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
    if way == "hex, after a byte":
        return secret.encode().hex()
    if way == "url":
        return quote(secret, safe="")
    if way in ("json", "json, letters as they are", "json in json", "json in json in json", "json of repr"):
        return write(secret).strip('\\{}[]v:" ') if secret.isalnum() else write(secret)
    if way in ("repr", "repr of bytes", "json, slashes escaped", "json, safe in html"):
        return write(secret)[2:-1] if way == "repr of bytes" else write(secret)[1:-1]
    return write(secret)


JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA75bc\n" * 4 + "abc=\n-----END RSA PRIVATE KEY-----"


def shape(*parts: str) -> str:
    """Put together here, so that no scanner of this repository takes a test for a leak."""
    return "".join(parts)


SHAPED = {
    "aws-key": shape("AKIA", "IOSFODNN7EXAMPLE"),
    "github-token": shape("ghp_", "a1B2c3D4e5" * 4),
    "github-token (fine-grained)": shape("github_pat_", "11ABCDEFG0" * 8),
    "gitlab-token": shape("glpat-", "x7Yz-12345_abcdeFGHI"),
    "google-key": shape("AIza", "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q"),
    "google-secret": shape("GOCSPX-", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4"),
    "google-token": shape("ya29.", "a0AfH6SMBx1y2z3A4B5C6D7E8F9G0"),
    "huggingface-token": shape("hf_", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"),
    "model-key": shape("sk-proj-", "Ab1cD2eF3gH4iJ5kL6mN7oP8"),
    "model-key (anthropic)": shape("sk-ant-api03-", "Ab1cD2eF3gH4iJ5kL6mN7oP8-_xyz"),
    "model-key (openrouter)": shape("sk-or-v1-", "0123456789abcdef" * 4),
    "npm-token": shape("npm_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"),
    "pypi-token": shape("pypi-AgE", "IcHlwaS5vcmc" * 5),
    "sendgrid-key": shape("SG.", "a1B2c3D4e5F6g7H8i9J0k1", ".", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V"),
    "slack-token": shape("xoxb-", "123456789012-123456789012-", "abcdefABCDEF123456789012"),
    "slack-token (app)": shape("xapp-", "1-A0123456789-1234567890-", "0123456789abcdef"),
    "slack-webhook": shape("hooks.slack.com/services/", "T01234567/B01234567/", "abcdefghijklmnopqrstuvwx"),
    "stripe-key": shape("sk_live_", "4eC39HqLyjWDarjtT1zdp7dc"),
    "stripe-key (webhook)": shape("whsec_", "4eC39HqLyjWDarjtT1zdp7dc"),
    "jwt": JWT,
    "private-key": PEM,
    "private-key, as JSON has it": json.dumps(PEM)[1:-1],
    "private-key, with headers": PEM.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,0F\n\n", 1),
}
