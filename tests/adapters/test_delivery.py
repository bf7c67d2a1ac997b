"""Deliveries: a parcel arrives whole, once for each key, and what cannot arrive says so."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from executus.adapters.delivery.directory import DirectoryDelivery
from executus.adapters.delivery.in_process import CallbackDelivery
from executus.adapters.delivery.webhook import WebhookDelivery, WebhookUnavailable, signature
from executus.adapters.files.artifacts import MemoryArtifacts
from executus.errors import DeliveryRefused, ExtraMissing
from executus.events import ArtifactStored, RunInfo, RunStats
from executus.ports import ArtifactStore, Delivery, Parcel

RUN = "0192f000-0000-7000-8000-000000000001"
DEADLINE_S = 60.0
STORE = MemoryArtifacts()


def artifact(name: str, content: bytes, store: ArtifactStore = STORE) -> ArtifactStored:
    return ArtifactStored(sha256=store.put(content), name=name, media_type="text/plain", size=len(content))


def parcel(*artifacts: ArtifactStored, key: str = f"{RUN}:out", **fields: Any) -> Parcel:
    given: dict[str, Any] = {
        "key": key,
        "info": RunInfo(run_id=RUN, name="poet", caller_id="alice"),
        "status": "ok",
        "output": "a poem über Bäume\n",
        "error": "",
        "stats": RunStats(status="ok"),
        "artifacts": artifacts,
    }
    return Parcel(**given | fields)


# ------------------------------------------------------------------ to a function


def test_a_plain_function_is_called_and_its_text_is_the_receipt() -> None:
    seen: list[tuple[Parcel, ArtifactStore]] = []

    def receive(parcel: Parcel, artifacts: ArtifactStore) -> str:
        seen.append((parcel, artifacts))
        return "row 7"

    delivery = CallbackDelivery(receive)
    assert isinstance(delivery, Delivery)
    one = parcel()
    assert delivery.deliver(one, STORE) == "row 7"
    assert seen == [(one, STORE)]


def test_an_async_function_is_awaited() -> None:
    async def receive(parcel: Parcel, artifacts: ArtifactStore) -> str:
        await asyncio.sleep(0)
        return parcel.key

    async def deliver() -> str | None:
        answer = CallbackDelivery(receive).deliver(parcel(key="k"), STORE)
        assert answer is not None
        assert not isinstance(answer, str)
        return await answer

    assert asyncio.run(deliver()) == "k"


def test_an_answer_that_is_no_text_is_no_receipt() -> None:
    assert CallbackDelivery(lambda *_: 7).deliver(parcel(), STORE) is None


def test_what_the_function_raises_travels() -> None:
    def refuse(parcel: Parcel, artifacts: ArtifactStore) -> None:
        raise DeliveryRefused("no such channel")

    with pytest.raises(DeliveryRefused, match="no such channel"):
        CallbackDelivery(refuse).deliver(parcel(), STORE)


def test_a_function_is_something_to_call() -> None:
    wrong: Any = "print"
    with pytest.raises(TypeError, match="expected something to call, got str"):
        CallbackDelivery(wrong)


# ------------------------------------------------------------------ to a directory


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_a_folder_holds_the_output_the_manifest_and_the_artifacts(tmp_path: Path) -> None:
    delivery = DirectoryDelivery(tmp_path / "out")
    assert isinstance(delivery, Delivery)
    folder = Path(delivery.deliver(parcel(artifact("poem.txt", b"poem"), artifact("b.bin", b"\0")), STORE))
    assert folder.parent == tmp_path / "out"
    assert folder.name.startswith(RUN)
    files = tree(folder)
    manifest = json.loads(files.pop("manifest.json") or b"")
    output = "a poem über Bäume\n".encode()
    assert files == {"output.txt": output, "artifacts": None, "artifacts/poem.txt": b"poem", "artifacts/b.bin": b"\0"}
    assert manifest["key"] == f"{RUN}:out"
    assert manifest["run_id"] == RUN
    assert manifest["status"] == "ok"
    assert manifest["info"]["caller_id"] == "alice"
    described = [manifest["output"], *manifest["artifacts"]]
    assert [each["path"] for each in described] == ["output.txt", "artifacts/poem.txt", "artifacts/b.bin"]
    for each in described:
        content = files[each["path"]] or b""
        assert (each["size"], each["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_delivered_files_are_private_and_cannot_be_run(tmp_path: Path) -> None:
    folder = Path(DirectoryDelivery(tmp_path / "out").deliver(parcel(artifact("run.sh", b"#!/bin/sh")), STORE))
    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_second_delivery_of_a_key_changes_nothing_and_has_the_same_receipt(tmp_path: Path) -> None:
    delivery = DirectoryDelivery(tmp_path / "out")
    first = delivery.deliver(parcel(), STORE)
    before = tree(tmp_path / "out")
    assert delivery.deliver(parcel(output="something else", attempt=2), STORE) == first
    again = DirectoryDelivery(tmp_path / "out")
    assert again.deliver(parcel(attempt=3), STORE) == first
    assert tree(tmp_path / "out") == before


def test_another_key_has_another_folder(tmp_path: Path) -> None:
    delivery = DirectoryDelivery(tmp_path / "out")
    keys = ["a", "b", "A", "../../up", "/etc", "", ".", "x" * 10_000, "a\0b", "ü"]
    folders = {Path(delivery.deliver(parcel(key=key), STORE)) for key in keys}
    assert len(folders) == len(keys)
    assert {folder.parent for folder in folders} == {tmp_path / "out"}
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_threads_that_deliver_one_key_make_one_folder(tmp_path: Path) -> None:
    delivery = DirectoryDelivery(tmp_path / "out")
    one = parcel(artifact("poem.txt", b"poem"))
    with ThreadPoolExecutor(8) as pool:
        receipts = set(pool.map(lambda _: delivery.deliver(one, STORE), range(24)))
    [receipt] = receipts
    assert [str(path) for path in (tmp_path / "out").iterdir()] == [receipt]
    assert (Path(receipt) / "artifacts" / "poem.txt").read_bytes() == b"poem"


def test_names_that_cannot_be_files_or_are_taken_become_the_hash(tmp_path: Path) -> None:
    names = ["../../up", "/etc/passwd", ".bashrc", "a/b", "", "a.txt", "A.TXT", "a.txt", "nul", "x" * 300]
    stored = [artifact(name, b"%d" % number) for number, name in enumerate(names)]
    folder = Path(DirectoryDelivery(tmp_path / "out").deliver(parcel(*stored), STORE))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    paths = [each["path"] for each in manifest["artifacts"]]
    expected = [one.name if number == 5 else one.sha256 for number, one in enumerate(stored)]
    assert paths == [f"artifacts/{name}" for name in expected]
    assert [each["name"] for each in manifest["artifacts"]] == names
    assert [(folder / path).read_bytes() for path in paths] == [b"%d" % number for number in range(len(names))]
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_an_artifact_named_like_the_hash_of_another_loses_nothing(tmp_path: Path) -> None:
    hidden = artifact("..", b"1")
    stored = [artifact(hidden.sha256, b"2"), artifact(f"1-{hidden.sha256}", b"3"), hidden]
    folder = Path(DirectoryDelivery(tmp_path / "out").deliver(parcel(*stored), STORE))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert [(folder / each["path"]).read_bytes() for each in manifest["artifacts"]] == [b"2", b"3", b"1"]


def test_the_same_artifact_twice_is_one_file(tmp_path: Path) -> None:
    one = artifact("a.txt", b"1")
    folder = Path(DirectoryDelivery(tmp_path / "out").deliver(parcel(one, one), STORE))
    assert [path.name for path in (folder / "artifacts").iterdir()] == ["a.txt"]


def test_a_lost_artifact_refuses_the_delivery_and_leaves_nothing(tmp_path: Path) -> None:
    lost = ArtifactStored(sha256="0" * 64, name="a", media_type="text/plain", size=1)
    with pytest.raises(DeliveryRefused, match="artifact 'a' cannot be delivered"):
        DirectoryDelivery(tmp_path / "out").deliver(parcel(lost), STORE)
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize("address", ["../../canary", "", "x" * 64])
def test_an_artifact_without_an_address_refuses_the_delivery(tmp_path: Path, address: str) -> None:
    one = ArtifactStored(sha256=address, name="..", media_type="text/plain", size=1)
    with pytest.raises(DeliveryRefused, match="no address"):
        DirectoryDelivery(tmp_path / "out").deliver(parcel(one), STORE)


def test_a_run_id_that_is_no_uuid_refuses_the_delivery(tmp_path: Path) -> None:
    with pytest.raises(DeliveryRefused, match="run id"):
        DirectoryDelivery(tmp_path / "out").deliver(parcel(info=RunInfo(run_id="../up", name="x")), STORE)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_took_the_folders_name_is_never_written_through(tmp_path: Path, kind: str) -> None:
    delivery = DirectoryDelivery(tmp_path / "out")
    place = Path(delivery.deliver(parcel(), STORE))
    place.rename(tmp_path / "moved")
    outside = tmp_path / "outside"
    outside.mkdir()
    if kind == "link":
        place.symlink_to(outside)
    else:
        place.touch()
    with pytest.raises(DeliveryRefused, match="no folder has this name"):
        delivery.deliver(parcel(), STORE)
    assert tree(outside) == {}


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_root_that_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "out"
    if kind == "link":
        root.symlink_to(tmp_path)
    else:
        root.touch()
    with pytest.raises(ValueError, match="expected a folder"):
        DirectoryDelivery(root)


def test_a_crash_before_the_rename_leaves_nothing_that_a_receiver_sees_and_goes_later(tmp_path: Path) -> None:
    root = tmp_path / "out"
    one = parcel(artifact("poem.txt", b"poem"))
    code = f"""
import msgspec, os
from executus.adapters.delivery.directory import DirectoryDelivery
from executus.adapters.files.artifacts import MemoryArtifacts
from executus.ports import Parcel
store = MemoryArtifacts()
store.put(b"poem")
delivery = DirectoryDelivery({str(root)!r})
os.rename = lambda *_, **__: os._exit(9)  # the process dies just before the folder gets its name
delivery.deliver(msgspec.msgpack.decode({msgspec.msgpack.encode(one)!r}, type=Parcel), store)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S, check=False)
    assert done.returncode == 9
    [left] = root.iterdir()
    assert left.name.startswith(".")
    (root / ".tmp-of-somebody-else").mkdir()
    delivery = DirectoryDelivery(root)
    assert {path.name for path in root.iterdir()} == {".tmp-of-somebody-else"}
    folder = Path(delivery.deliver(one, STORE))
    assert (folder / "artifacts" / "poem.txt").read_bytes() == b"poem"


# ------------------------------------------------------------------ to a web address


class Receiver:
    """A real HTTP server on this machine: keeps what it is sent, answers what `answers` says, then 200."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.arrived, self.silent, self.hold = threading.Event(), threading.Event(), threading.Event()
        receiver = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                receiver.arrived.set()
                if receiver.silent.is_set():
                    receiver.hold.wait(DEADLINE_S)
                    return
                status, extra = receiver.answers.pop(0) if receiver.answers else (200, {})
                self.send_response(status)
                for name, value in {"content-length": "2", **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Nothing on the console."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.address}/hooks/url-secret?token=url-secret"

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join(DEADLINE_S)
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def post(delivery: WebhookDelivery, one: Parcel | None = None) -> str:
    return asyncio.run(asyncio.wait_for(delivery.deliver(one or parcel(), STORE), DEADLINE_S))


def test_a_parcel_is_posted_as_json_with_its_key(receiver: Receiver) -> None:
    delivery = WebhookDelivery(receiver.url, headers={"Authorization": "Bearer header-secret"})
    assert isinstance(delivery, Delivery)
    assert post(delivery, parcel(artifact("poem.txt", b"po\0em"))) == "HTTP 200"
    [(path, headers, body)] = receiver.requests
    assert path == "/hooks/url-secret?token=url-secret"
    assert headers["idempotency-key"] == f"{RUN}:out"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer header-secret"
    assert "webhook-signature" not in headers
    told = json.loads(body)
    assert (told["key"], told["run_id"], told["status"]) == (f"{RUN}:out", RUN, "ok")
    assert told["output"] == "a poem über Bäume\n"
    assert told["info"]["caller_id"] == "alice"
    [one] = told["artifacts"]
    assert (one["name"], one["size"]) == ("poem.txt", 5)
    assert base64.b64decode(one["content"]) == b"po\0em"
    assert one["sha256"] == hashlib.sha256(b"po\0em").hexdigest()


def test_every_attempt_sends_the_same_key_and_body(receiver: Receiver) -> None:
    receiver.answers = [(503, {})]
    delivery = WebhookDelivery(receiver.url)
    with pytest.raises(WebhookUnavailable):
        post(delivery, parcel(attempt=1))
    post(delivery, parcel(attempt=2))
    (_, first, body), (_, second, same) = receiver.requests
    assert first["idempotency-key"] == second["idempotency-key"]
    assert body == same


def test_artifacts_that_do_not_fit_go_by_hash_only(receiver: Receiver) -> None:
    stored = [artifact("a", b"123"), artifact("b", b"4567"), artifact("c", b"89")]
    post(WebhookDelivery(receiver.url, inline_bytes=5), parcel(*stored))
    told = json.loads(receiver.requests[0][2])["artifacts"]
    assert [one["content"] for one in told] == ["MTIz", None, "ODk="]
    assert [one["sha256"] for one in told] == [one.sha256 for one in stored]


def test_a_lost_artifact_refuses_the_delivery(receiver: Receiver) -> None:
    lost = ArtifactStored(sha256="0" * 64, name="a", media_type="text/plain", size=1)
    with pytest.raises(DeliveryRefused, match="artifact 'a' cannot be delivered"):
        post(WebhookDelivery(receiver.url), parcel(lost))
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("secret", "key"),
    [("plain", b"plain"), (b"\xff\x00", b"\xff\x00"), ("whsec_" + base64.b64encode(b"raw").decode(), b"raw")],
)
def test_a_signed_request_can_be_checked_by_who_has_the_secret(
    receiver: Receiver, secret: str | bytes, key: bytes
) -> None:
    post(WebhookDelivery(receiver.url, secret=secret))
    [(_, headers, body)] = receiver.requests
    assert headers["webhook-id"] == headers["idempotency-key"]
    assert headers["webhook-timestamp"].isdecimal()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_the_one_of_the_published_example() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_means_taken(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"content-length": "0"} if status == 204 else {})]
    assert post(WebhookDelivery(receiver.url)) == f"HTTP {status}"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 451, 499])
def test_a_4xx_is_final(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {})]
    with pytest.raises(DeliveryRefused, match=f"answered HTTP {status}"):
        post(WebhookDelivery(receiver.url))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599, 300, 301, 302, 303, 304])
def test_any_other_status_may_be_tried_again(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"content-length": "0"} if status == 304 else {})]
    with pytest.raises(WebhookUnavailable, match=f"answered HTTP {status}") as unavailable:
        post(WebhookDelivery(receiver.url))
    assert unavailable.value.retry_after_s is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0), ("7", 7), (" 7 ", 7), ("999999999999", 86_400), (formatdate(0, usegmt=True), 0)]
    + [(formatdate(4e9, usegmt=True), 86_400)]
    + [(wrong, None) for wrong in ("", "soon", "-1", "1e9", "nan", "9" * 99, "Mon, 99 Foo 9999", "7 7")],
)
def test_the_time_a_receiver_asks_for_is_carried(receiver: Receiver, header: str, seconds: float | None) -> None:
    receiver.answers = [(503, {"Retry-After": header})]
    with pytest.raises(WebhookUnavailable) as unavailable:
        post(WebhookDelivery(receiver.url))
    assert unavailable.value.retry_after_s == seconds


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_within_the_receiver_is_followed_with_the_whole_request(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"Location": "/new"}), (status, {"Location": f"{receiver.address}/newer"})]
    assert post(WebhookDelivery(receiver.url, secret="s")) == "HTTP 200"
    assert [path for path, _, _ in receiver.requests] == ["/hooks/url-secret?token=url-secret", "/new", "/newer"]
    assert len({(body, headers["webhook-signature"]) for _, headers, body in receiver.requests}) == 1


def test_a_redirect_to_another_host_is_not_followed(receiver: Receiver) -> None:
    other = Receiver()
    try:
        port = other.address.rpartition(":")[2]
        places = [other.url, f"//127.0.0.1:{port}/", receiver.address.replace("127.0.0.1", "localhost"), "https:", ""]
        places += [receiver.address.replace("http:", "https:"), "http://[", "ftp://127.0.0.1/"]
        for place in places:
            receiver.answers = [(307, {"Location": place})]
            with pytest.raises(WebhookUnavailable, match="to another host"):
                post(WebhookDelivery(receiver.url))
        assert other.requests == []
        assert len(receiver.requests) == len(places)
    finally:
        other.close()


def test_redirects_in_a_circle_end(receiver: Receiver) -> None:
    receiver.answers = [(307, {"Location": "/again"})] * 20
    with pytest.raises(WebhookUnavailable, match="more than 3 redirects"):
        post(WebhookDelivery(receiver.url))
    assert len(receiver.requests) == 4


def test_a_silent_receiver_is_given_up(receiver: Receiver) -> None:
    receiver.silent.set()
    with pytest.raises(WebhookUnavailable, match=r"no answer within 0\.3 s"):
        post(WebhookDelivery(receiver.url, timeout_s=0.3))


def test_cancelling_an_attempt_stops_it(receiver: Receiver) -> None:
    receiver.silent.set()

    async def cancel() -> None:
        attempt = asyncio.create_task(WebhookDelivery(receiver.url).deliver(parcel(), STORE))
        assert await asyncio.to_thread(receiver.arrived.wait, DEADLINE_S)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(attempt, DEADLINE_S)

    asyncio.run(cancel())


def test_a_client_of_the_host_is_used_and_left_open(receiver: Receiver) -> None:
    from httpx2 import AsyncClient

    async def twice() -> None:
        async with AsyncClient(follow_redirects=True, headers={"x-host": "mine"}) as client:
            delivery = WebhookDelivery(receiver.url, client=client)
            receiver.answers = [(302, {"Location": "/elsewhere"})]
            with pytest.raises(WebhookUnavailable, match="HTTP 302"):
                await delivery.deliver(parcel(), STORE)
            assert await delivery.deliver(parcel(), STORE) == "HTTP 200"
            assert not client.is_closed

    asyncio.run(twice())
    assert [headers["x-host"] for _, headers, _ in receiver.requests] == ["mine", "mine"]


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert isinstance(port, int)
        return port


def unreachable(_: Receiver) -> str:
    return f"http://127.0.0.1:{closed_port()}/url-secret"


def refusing(receiver: Receiver) -> str:
    receiver.answers = [(403, {})]
    return receiver.url


def failing(receiver: Receiver) -> str:
    receiver.answers = [(500, {})]
    return receiver.url


def redirecting(receiver: Receiver) -> str:
    receiver.answers = [(307, {"Location": "http://elsewhere.invalid/url-secret"})]
    return receiver.url


def speaking_no_tls(receiver: Receiver) -> str:
    return receiver.url.replace("http:", "https:")


def hanging(receiver: Receiver) -> str:
    receiver.silent.set()
    return receiver.url


@pytest.mark.parametrize("how", [unreachable, refusing, failing, redirecting, speaking_no_tls, hanging])
def test_no_secret_is_in_an_error_or_a_repr(receiver: Receiver, how: Callable[[Receiver], str]) -> None:
    timeout_s = 0.3 if how is hanging else DEADLINE_S
    headers = {"X-Key": "header-secret"}
    delivery = WebhookDelivery(how(receiver), headers=headers, secret="the-secret", timeout_s=timeout_s)
    with pytest.raises((WebhookUnavailable, DeliveryRefused)) as failed:
        post(delivery)
    shown = "".join([*traceback.format_exception(failed.value), repr(failed.value), repr(delivery)])
    assert "127.0.0.1" in shown
    assert "-secret" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://h/",
        "http://",
        "https:///x-secret",
        "http://u:p-secret@h/",
        "http://h:x-secret/",
        "http://[x-secret",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: expected") as wrong:
        WebhookDelivery(url)
    assert "secret" not in "".join(traceback.format_exception(wrong.value))


@pytest.mark.parametrize(
    "headers", [{"a b": "v"}, {"": "v"}, {"x": "a\r\nb: c"}, {"x": "ü"}, {"Idempotency-Key": "x"}, {"webhook-id": "x"}]
)
def test_headers_that_cannot_be_sent_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^headers: "):
        WebhookDelivery("http://h/", headers=headers)


@pytest.mark.parametrize("secret", ["", b"", "whsec_", "whsec_no base64"])
def test_a_secret_that_cannot_be_used_is_refused(secret: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^secret: "):
        WebhookDelivery("http://h/", secret=secret)


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"timeout_s": float("nan")}, {"inline_bytes": -1}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: expected"):
        WebhookDelivery("http://h/", **wrong)


@pytest.mark.parametrize("key", ["", "a b", "a\r\nx: y", "ü", "x" * 256])
def test_a_key_that_no_header_can_carry_refuses_the_delivery(receiver: Receiver, key: str) -> None:
    with pytest.raises(DeliveryRefused, match=r"^key "):
        post(WebhookDelivery(receiver.url), parcel(key=key))
    assert receiver.requests == []


def test_without_its_library_a_webhook_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'executus\[webhook\]'"):
        WebhookDelivery("http://h/")


def test_the_library_is_loaded_with_the_first_attempt_only() -> None:
    code = """
import sys
from executus.adapters.delivery.webhook import WebhookDelivery
WebhookDelivery("http://h/", secret="s")
assert "httpx2" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], timeout=DEADLINE_S, check=True)
