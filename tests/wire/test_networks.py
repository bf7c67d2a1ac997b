"""Over a network: each end proves who it is, nothing is in the clear, and the feed tells only that there is more."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wire_frames import SEVERAL_S, short_room

from executus import Agent, Runtime, ScriptedModel
from executus.errors import ControlRefused, ExecutusError, HostUnreachable, ListenRefused
from executus.wire import attached
from executus.wire.attached import attach, hosts
from executus.wire.dialers import Listening
from executus.wire.frames import decode_frame
from executus.wire.sockets import TimedOut
from executus.wire.terms import ClientTls, Grant, Listen, ServerTls

x509 = pytest.importorskip("cryptography.x509", reason="makes certificates")


class Authority:
    """Signs certificates."""

    def __init__(self, folder: Path, name: str) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key.public_key(), [], authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(_pem(self.certificate))

    def _signed(self, subject: Any, key: Any, hosts: list[str], *, authority: bool = False) -> Any:
        from cryptography.hazmat.primitives import hashes

        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if hosts:
            names = [x509.DNSName(host) for host in hosts]
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            made = made.add_extension(x509.SubjectAlternativeName([*names, address]), critical=False)
        return made.sign(self._key, hashes.SHA256())

    def issue(self, name: str) -> Path:
        """A PEM file with a certificate for `name` and its key."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{name}-{id(key)}.pem"
        path.write_bytes(_pem(self._signed(subject, key.public_key(), [name])) + secret)
        return path


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


AGENT = Agent("quick", model=ScriptedModel(lambda _: "over"))
ALICE = Grant("alice", "owner", caller="alice")
OPERATOR = Grant("ann", "operator")


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    with short_room():
        yield Authority(tmp_path, "ca")


def listen(authority: Authority, **tls: Any) -> Listen:
    server = ServerTls(authority.issue("localhost"), **tls)
    return Listen("tls+tcp://127.0.0.1:0", grants=[ALICE, OPERATOR], tls=server)


@pytest.fixture
def host(authority: Authority, tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(tmp_path / "runs.db", [AGENT], listen=listen(authority)) as runtime:
        yield runtime


def test_runs_are_started_and_followed_over_a_network(host: Runtime, authority: Authority) -> None:
    assert host.listening.startswith("tls+tcp://127.0.0.1:")
    assert not host.listening.endswith(":0")
    address = host.listening
    with attached.attach(address, token=ALICE.token, tls=ClientTls(authority.path)) as found:
        run = found.start("quick", "Go.")
        assert run.wait(SEVERAL_S).status == "ok"
        assert next(run.events()).tag == "run-started"
        assert host.journal.read(run.id)[0].fact.info.caller_id == "alice"
        with pytest.raises(ControlRefused, match="starts only runs"):
            found.start("quick", "Go.", caller="bob")


def test_no_operator_is_let_in_that_was_not_named_and_no_token_lies_about(host: Runtime, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass the token"):
        attach(tmp_path / "runs.db", host=True)
    assert [(one.answers, one.card.control) for one in hosts()] == [(False, host.listening)]


def test_a_host_that_another_authority_signed_for_is_asked_nothing(host: Runtime, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    with pytest.raises(HostUnreachable):
        attach(host.listening, token=ALICE.token, tls=ClientTls(other.path), timeout=0.5)


def test_a_host_of_another_name_is_asked_nothing(host: Runtime, authority: Authority) -> None:
    tls = ClientTls(authority.path, server_name="elsewhere.example")
    with pytest.raises(HostUnreachable):
        attach(host.listening, token=ALICE.token, tls=tls, timeout=0.5)


def test_a_client_without_a_certificate_is_not_let_in_where_one_is_asked_for(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    terms = listen(authority, ca=authority.path)
    with Runtime(tmp_path / "runs.db", [AGENT], listen=terms) as runtime:
        for cert_key in (None, other.issue("client")):
            tls = ClientTls(authority.path, cert_key=cert_key)
            with pytest.raises(HostUnreachable):
                attach(runtime.listening, token=ALICE.token, tls=tls, timeout=0.5)
        tls = ClientTls(authority.path, cert_key=authority.issue("client"))
        with attach(runtime.listening, token=ALICE.token, tls=tls) as found:
            assert found.live


def test_a_right_certificate_is_no_token(host: Runtime, authority: Authority) -> None:
    for token in ("alice." + "x" * 43, "operator." + "x" * 43):
        with pytest.raises(ControlRefused) as caught:
            attach(host.listening, token=token, tls=ClientTls(authority.path))
        assert caught.value.kind == "unauthenticated"


def test_nothing_is_said_to_who_speaks_no_tls(host: Runtime, authority: Authority) -> None:
    port = int(host.listening.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=SEVERAL_S) as one:
        one.sendall(b"\x00SP\x00\x00\x30\x00\x00" + b"\x00" * 64)
        try:
            said = one.recv(100)
        except ConnectionError:
            said = b""
    assert b"SP" not in said
    with attach(host.listening, token=ALICE.token, tls=ClientTls(authority.path)) as found:
        assert found.live


def test_the_feed_says_that_there_is_something_and_not_what(host: Runtime, authority: Authority) -> None:
    assert host._wire is not None
    listening = Listening(host._wire.feed, tls=ClientTls(authority.path), recv_bytes=1 << 20)
    try:
        listening.take(SEVERAL_S)
        for number in range(5):
            host.start("quick", f"the word is swordfish {number}", caller="alice").result(SEVERAL_S)
        heard: list[bytes] = []
        with pytest.raises(TimedOut):
            while decode_frame((heard.append(listening.take(SEVERAL_S)), heard[-1])[1]).last < host.journal.head():
                pass
            raise TimedOut
    finally:
        listening.close()
    assert all(decode_frame(frame).events == () for frame in heard)
    assert not any(b"swordfish" in frame for frame in heard)
    assert max(map(len, heard)) < 100


@pytest.mark.parametrize("wrong", ["no file", "no certificate"])
def test_a_certificate_that_cannot_be_used_is_said_at_once(authority: Authority, tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "none.pem"
    if wrong == "no certificate":
        path.write_text("nothing")
    terms = Listen("tls+tcp://127.0.0.1:0", grants=[ALICE], tls=ServerTls(path))
    with pytest.raises(ListenRefused):
        Runtime(tmp_path / "runs.db", [AGENT], listen=terms)
    with pytest.raises((ValueError, ExecutusError)):
        attach("tls+tcp://127.0.0.1:9", token=ALICE.token, tls=ClientTls(path), timeout=0.2)
    Runtime(tmp_path / "runs.db", [AGENT]).close()


def test_a_port_that_is_taken_is_said_and_nothing_is_opened(authority: Authority, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tls = ServerTls(authority.issue("localhost"))
        terms = Listen(f"tls+tcp://127.0.0.1:{min(port, 65_534)}", grants=[ALICE], tls=tls)
        with pytest.raises(ListenRefused):
            Runtime(tmp_path / "runs.db", [AGENT], listen=terms)
