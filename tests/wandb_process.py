"""Stages that are tracked in a separate process, and servers that answer it or do not."""

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from experiments.stages.stage import Stage
from experiments.store import Store
from experiments.tracking.stage import run_id
from tests.tracked_stages import all_stages

ROOT = Path(__file__).parent.parent
PATIENCE = "2"

BLOCKED = """
import runpy, socket, sys

real = socket.socket.connect

def refused(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        print("NETWORK", address, file=sys.stderr, flush=True)
        raise OSError("blocked")
    return real(self, address)

def unknown(host, *_, **__):
    if host not in ("127.0.0.1", "::1", "localhost"):
        print("NETWORK lookup of", host, file=sys.stderr, flush=True)
        raise OSError("blocked")
    return looked_up(host, *_, **__)

looked_up = socket.getaddrinfo
socket.socket.connect = refused
socket.getaddrinfo = unknown
sys.argv = sys.argv[1:]
runpy.run_module("tests.tracked_stages", run_name="__main__")
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return {**kept, "SELFREFINE_WANDB_SECONDS": PATIENCE, "NETRC": "/nowhere", **more}


def tracked(root: Path, *kinds: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Tracks stages in a separate process, as a worker does."""
    return subprocess.run(
        [sys.executable, "-m", "tests.tracked_stages", str(root), *kinds],
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def file_of(store: Store, stage: Stage) -> Path:
    (path,) = store.root.glob(f"wandb/wandb/*-{run_id(stage)}/*.wandb")
    return path


def one(name: str) -> Stage:
    (stage,) = [each for each in all_stages() if type(each).__name__ == name]
    return stage


class Listener:
    """A port that counts connections and never answers."""

    def __enter__(self) -> "Listener":
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = 0
        self.kept: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self) -> None:
        while True:
            try:
                self.kept.append(self.socket.accept()[0])
            except OSError:
                return
            self.connections += 1

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class served:
    """Runs a server. `answer` gives the data for a GraphQL query, or None for an error page."""

    def __init__(self, answer: object) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                found = answer(self.rfile.read(length).decode(errors="replace"))  # type: ignore[operator]
                body = json.dumps({"data": found}).encode() if found else b"<h1>broken</h1>"
                self.send_response(200 if found else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
