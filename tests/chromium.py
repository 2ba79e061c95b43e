"""A headless Chromium, driven over a pipe: opens a page, evaluates expressions, takes pictures."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

BINARY = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Page:
    """A page in a browser of its own. `requests` are the addresses that it asked for."""

    def __init__(self, profile: Path, width: int, height: int) -> None:
        commands, self.sending = os.pipe()
        self.receiving, answers = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4.
        script = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, str(BINARY), *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self.buffer = b""
        self.sent = 0
        self.session: str | None = None
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.shown: set[tuple[str, str]] = set()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 700,
        )

    def __enter__(self) -> "Page":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        self.process.wait()
        os.close(self.sending)
        os.close(self.receiving)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.sent += 1
        message: dict[str, Any] = {"id": self.sent, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.sending, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.sent:
                assert "error" not in answer, answer
                return answer["result"]

    def read(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            part = os.read(self.receiving, 1 << 20)
            assert part, "the browser ended"
            self.buffer += part
        head, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(head)
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Page.lifecycleEvent":
                event = message["params"]
                self.shown.add((event["loaderId"], event["name"]))
            case "Runtime.exceptionThrown" | "Log.entryAdded":
                self.messages.append(json.dumps(message["params"])[:500])
        return message

    def open(self, path: Path) -> None:
        """Opens a page, and waits until everything in it has loaded and it takes input.

        The browser drops keys and clicks without a word before the first paint of a page.
        """
        loader = self.ask("Page.navigate", url=path.as_uri())["loaderId"]
        while not {(loader, "load"), (loader, "firstContentfulPaint")} <= self.shown:
            self.read()

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of the promise that it returns."""
        found = self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        """Writes a picture of the whole page as PNG."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
