"""A heavy host: a web service with every port of the runtime wired.

    python examples/heavy_host --data DIR --port 8000 [--model openai:gpt-5-mini] [--deliver-to URL]

Needs `pip install '.[examples]'`. Ctrl-C leaves everything whole: start it again with the same DIR, and what waited
for an approval waits again, what was under way goes on, and what was not delivered is delivered.
"""

import argparse
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
from pathlib import Path

import team
import uvicorn
from inbox import Inbox
from service import Service

from executus import ExecutusError, Runtime
from executus.adapters.delivery.webhook import WebhookDelivery
from executus.adapters.files.artifacts import DirectoryArtifacts
from executus.adapters.files.stager import DirectoryStager


def secret_in(data: Path) -> str:
    """The secret that parcels are signed with, made at the first start."""
    file = data / "webhook.secret"
    with (
        contextlib.suppress(FileExistsError),
        open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as new,
    ):
        new.write(secrets.token_urlsafe(32))
    return file.read_text()


def opened(data: Path, model: str | None, deliver_to: str, secret: str) -> Runtime:
    """The runtime with every port wired."""
    agents = team.team(model)
    return Runtime(
        data / "runs.db",
        agents,
        tiers=team.tiers(model),
        palette=team.palette(agents),
        critic=team.critic(model),
        budget=team.budget(),
        prices=team.prices(model),
        delivery=WebhookDelivery(deliver_to, secret=secret),
        files=DirectoryStager(data / "attachments"),
        artifacts=DirectoryArtifacts(data / "artifacts"),
        record=lambda info: info.channel_id != "whisper",
        durable=lambda info: info.channel_id != "scratch",
        listen="ipc",  # `executus top --db DIR/runs.db` and the like reach it
    )


def main() -> int:
    """Serve until Ctrl-C or SIGTERM."""
    options = argparse.ArgumentParser(prog="heavy_host", description="A web service with every port wired.")
    options.add_argument("--data", type=Path, required=True, help="folder for the journal, files and artifacts")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    options.add_argument("--model", help="such as openai:gpt-5-mini, with OPENAI_API_KEY set; else stand-ins")
    options.add_argument("--deliver-to", metavar="URL", help="where output is posted to; by default its own /inbox")
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs every URL
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        given.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = secret_in(given.data)
        # Listening before the runtime opens: what it delivers at once finds its inbox.
        listening = socket.create_server((given.host, given.port))
        here = f"http://{given.host}:{listening.getsockname()[1]}"
        runtime = opened(given.data, given.model, given.deliver_to or f"{here}/inbox", secret)
    except (ExecutusError, OSError, OverflowError, ValueError) as error:
        print(f"heavy_host: {error}", file=sys.stderr)
        return 1
    with listening, runtime, contextlib.suppress(KeyboardInterrupt):
        print(f"listening on {here}", flush=True)
        app = Service(runtime, Inbox(given.data / "inbox", secret)).app()
        serving = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(serving).run(sockets=[listening])
    print("closed; everything is kept in", given.data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
