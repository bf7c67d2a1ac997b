"""aimock, a scripted stand-in for model providers that others wrote, as a child process; and a relay that shows what
was really sent to it."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import urllib.parse
from pathlib import Path
from typing import Any

PACKAGE = "@copilotkit/aimock@1.43.0"
INSTALL_S = 60
START_S = 30


class NotInstalled(Exception):
    """aimock is not here and could not be fetched; the text says what would help."""


def find() -> list[str]:
    """The command that runs aimock: from PATH, from our cache, or fetched into it once with npm.

    Raises:
        NotInstalled: there is no Node.js, or npm could not fetch it.
    """
    on_path = shutil.which("aimock")
    if on_path:
        return [on_path]
    node, npm = shutil.which("node"), shutil.which("npm")
    wanted = f"the provider tests talk to aimock: npm install -g {PACKAGE}"
    if not node or not npm:
        raise NotInstalled(f"{wanted} (needs Node.js 20 or newer)")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "executus-tests"
    cache = caches / f"aimock-{PACKAGE.rpartition('@')[2]}"
    script = cache / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    if not script.exists():
        fresh = ""
        try:
            caches.mkdir(parents=True, exist_ok=True)
            fresh = tempfile.mkdtemp(dir=caches)
            quiet = ("--no-audit", "--no-fund", "--silent", "--ignore-scripts", "--fetch-retries=0")
            command = [npm, "install", "--prefix", fresh, *quiet, PACKAGE]
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S)
            Path(fresh).rename(cache)  # whole or not at all, also with several test processes
        except (OSError, subprocess.SubprocessError) as error:
            if not script.exists():
                raise NotInstalled(wanted) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return [node, str(script)]


class Aimock:
    """A running aimock. url: where it listens, without /v1."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            [*command, "--port", "0", "--fixtures", str(folder), "--log-level", "info"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        said = ""
        while "listening on " not in said:
            said = self._lines.get(timeout=START_S)
        self.url = said.rpartition("listening on ")[2].strip().rstrip("/")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=START_S)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        where = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=START_S)
        try:
            headers = {"content-type": "application/json"}
            connection.request(method, f"/__aimock/{path}", json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 300, text
            return json.loads(text or b"null")
        finally:
            connection.close()

    def reset(self) -> None:
        """Forget fixtures and requests."""
        self._control("POST", "reset")

    def answer(self, response: dict[str, Any], **options: Any) -> None:
        """Answer with `response`, in the words of aimock's fixtures: every request, unless `match` says which."""
        self._control("POST", "fixtures", {"fixtures": [{"match": {}, "response": response, **options}]})

    def requests(self) -> list[dict[str, Any]]:
        """What was asked since the last reset."""
        return list(self._control("GET", "journal"))


class Relay:
    """Passes requests on and keeps their bodies as they were sent; aimock's own journal leaves parts out.

    With `events` it passes on so many events of a stream and then ends it as if that were all.
    """

    def __init__(self, target: str, events: int | None = None) -> None:
        where = urllib.parse.urlsplit(target)
        bodies: list[Any] = []

        class PassOn(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                bodies.append(json.loads(body))
                skipped = ("host", "accept-encoding", "connection")
                headers = {key: value for key, value in self.headers.items() if key.lower() not in skipped}
                connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=START_S)
                try:
                    connection.request("POST", self.path, body, headers)
                    answer = connection.getresponse()
                    text = answer.read()
                finally:
                    connection.close()
                if events is not None:
                    text = b"".join(event + b"\n\n" for event in text.split(b"\n\n")[:events])
                self.send_response(answer.status)
                self.send_header("content-type", answer.headers["content-type"])
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self.bodies = bodies
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PassOn)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
