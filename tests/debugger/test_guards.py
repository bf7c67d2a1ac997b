"""Nobody looks without the token, no other page gets an answer, and looking changes nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from executus.debugger import app

from .conftest import Told

TOKEN = "a-token-for-the-tests"
PATHS = [
    "runs",
    "runs/x",
    "runs/x/at/1",
    "runs/x/moments",
    "runs/x/export.jsonl",
    "feed",
    "runs/x/feed",
    "search",
    "compare",
    "artifacts/x",
]


@pytest.fixture(scope="module")
def client(told: Told) -> TestClient:
    return TestClient(app(told.db, token=TOKEN), base_url="http://127.0.0.1:8400", raise_server_exceptions=False)


def with_token(**more: str) -> dict[str, str]:
    return {"x-executus-token": TOKEN, **more}


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_there_is_no_data(client: TestClient, path: str) -> None:
    for headers in ({}, {"x-executus-token": ""}, {"x-executus-token": TOKEN[:-1]}, {"x-executus-token": TOKEN + "x"}):
        answer = client.get(f"/api/{path}", headers=headers)
        assert answer.status_code == 401
        assert "token" in answer.json()["error"]
    assert client.get(f"/api/{path}?token={TOKEN}").status_code == 401


def test_a_token_with_letters_of_any_alphabet_is_only_wrong(client: TestClient) -> None:
    assert client.get("/api/runs", headers={"x-executus-token": "ключ".encode()}).status_code == 401


def test_orders_need_the_token_too(client: TestClient) -> None:
    assert client.post("/api/runs/x/orders", json={"order": "kill"}).status_code == 401


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1.evil.example:8400"]
)
def test_a_foreign_page_is_not_answered_even_with_the_token(client: TestClient, origin: str) -> None:
    for method, path in (("GET", "/api/runs"), ("POST", "/api/runs/x/orders"), ("GET", "/")):
        answer = client.request(method, path, headers=with_token(origin=origin))
        assert answer.status_code == 403, (method, path)
        assert "are not answered" in answer.json()["error"]


def test_the_page_itself_is_answered(client: TestClient) -> None:
    headers = with_token(origin="http://127.0.0.1:8400", **{"sec-fetch-site": "same-origin"})
    assert client.get("/api/runs", headers=headers).status_code == 200


def test_what_a_browser_calls_cross_site_is_not_answered(client: TestClient) -> None:
    assert client.get("/api/runs", headers=with_token(**{"sec-fetch-site": "cross-site"})).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8400", "127.0.0.1.evil.example", "", "localhost.evil:1"]
)
def test_another_name_for_this_machine_is_not_answered(client: TestClient, host: str) -> None:
    answer = client.get("/api/runs", headers=with_token(host=host))
    assert answer.status_code == 403
    assert "not served under the name" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost:8400", "127.0.0.1", "[::1]:8400", "LOCALHOST:1"])
def test_names_of_loopback_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/runs", headers=with_token(host=host)).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../application.py",
        "/assets/%2e%2e/application.py",
        "/assets/..%2fapplication.py",
        "/assets//etc/passwd",
        "/assets/js/../../opening.py",
        "/assets/js/%00main.js",
        "/assets/vendor/README.md",
        "/application.py",
        "/api/../assets/js/main.py",
        "/assets/" + "a" * 5_000,
    ],
)
def test_no_path_leads_out_of_the_assets(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=with_token())
    assert answer.status_code == 404
    assert "there is nothing at this address" in answer.json()["error"]


def test_the_page_allows_no_resource_from_outside(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    for path in ("/api/runs", "/api/runs/nobody", "/assets/js/main.js", "/nothing"):
        answer = client.get(path, headers=with_token())
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_asset_names_another_host() -> None:
    from executus.debugger.application import page_files

    files = page_files()
    assert {"index.html", "js/main.js", "vendor/preact.js", "css/base.css"} <= set(files)
    for name, (content, _) in files.items():
        text = content.decode().replace("http://www.w3.org/", "")
        assert "http://" not in text, name
        assert "https://" not in text, name
        if not name.startswith("vendor/"):
            assert "innerHTML =" not in text, name
            assert "dangerouslySetInnerHTML" not in text, name


def test_errors_are_sentences_without_the_insides(client: TestClient) -> None:
    answer = client.get("/api/runs/nobody-at-all-has-this-identifier-here", headers=with_token())
    assert answer.status_code == 404
    assert "Traceback" not in answer.text
    assert client.delete("/api/runs", headers=with_token()).status_code == 405


def test_a_reader_cannot_give_orders(client: TestClient, told: Told) -> None:
    for order in ("steer", "extend", "raise", "kill", "cancel", "approve", "deny"):
        answer = client.post(
            f"/api/runs/{told.runs['clerk']}/orders", json={"order": order, "text": "x"}, headers=with_token()
        )
        assert answer.status_code == 409
        assert "can only be read" in answer.json()["error"]
    answer = client.post(f"/api/runs/{told.runs['clerk']}/fork", json={"at": 3}, headers=with_token())
    assert answer.status_code == 409


def test_looking_at_everything_changes_no_byte(told: Told, tmp_path: Path) -> None:
    def bytes_of() -> dict[str, str]:
        folder = told.db.parent
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}

    before = bytes_of()
    made = app(told.db)
    client = TestClient(made, base_url="http://localhost", headers={"x-executus-token": made.state.token})
    run = told.runs["clerk"]
    asked = ["runs", f"runs/{run}", f"runs/{run}/line", f"runs/{run}/moments", f"runs/{run}/groups", f"runs/{run}/at/9"]
    asked += [f"runs/{run}/blame?path=status", f"runs/{run}/family", f"runs/{run}/lineage", f"runs/{run}/export.jsonl"]
    asked += [f"compare?a={run}&b={told.runs['refund']}", "search?text=refund", f"runs/{run}/diff?from=1&to=9"]
    for path in asked:
        assert client.get(f"/api/{path}").status_code == 200, path
    made.state.journal.close()
    assert bytes_of() == before


def test_a_short_token_is_refused(told: Told) -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        app(told.db, token="secret")


def test_every_app_has_a_token_of_its_own(told: Told) -> None:
    one, other = app(told.db).state.token, app(told.db).state.token
    assert one != other
    assert len(one) >= 32


def test_a_host_mounts_it_under_any_path_and_name(told: Told) -> None:
    made = app(told.db, token=TOKEN, hosts=["bot.example"])
    parent = Starlette(routes=[Mount("/executus", app=made)])
    client = TestClient(parent, base_url="https://bot.example", raise_server_exceptions=False)
    assert client.get("/executus").url.path == "/executus/"
    assert client.get("/executus/assets/js/main.js").status_code == 200
    assert client.get("/executus/api/runs").status_code == 401
    assert client.get("/executus/api/runs", headers=with_token(origin="https://bot.example")).status_code == 200
    assert client.get("/executus/api/runs", headers=with_token(host="localhost")).status_code == 403


def test_a_websocket_is_refused(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/feed"):
        pass


def test_the_journal_is_never_written_through_the_reader(told: Told) -> None:
    made = app(told.db)
    journal: Any = made.state.journal
    assert type(journal).__name__ == "OutsideReader"
    journal.close()
