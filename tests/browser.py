"""A real browser for a test: headless Chromium or Chrome, spoken to through its DevTools pipe.

The pipe needs nothing but the browser: no driver, no port, no package. Commands and events are those of
https://chromedevtools.github.io/devtools-protocol/, JSON with a zero byte at the end.
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ["chromium", "chromium-browser", "google-chrome"]
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-extensions", "--disable-sync", "--disable-component-update"),
    *("--disable-background-networking", "--disable-quic", "--window-size=1400,900"),
]


def program() -> str | None:
    """The browser that is installed here, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def opened(page: Path, profile: Path) -> Iterator["Page"]:
    """A page in a browser of its own with a profile of its own, both gone at the end of the block."""
    command_end, command = os.pipe()
    events, events_end = os.pipe()
    # The browser reads descriptor 3 and writes 4; a shell puts them there, whatever numbers the pipes have here.
    line = f'exec "$@" 3<&{command_end} 4>&{events_end}'
    browser = subprocess.Popen(
        ["bash", "-c", line, "browser", str(program()), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=[command_end, events_end],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_end), os.close(events_end)
    try:
        yield Page(command, events, page)
    finally:
        os.close(command), os.close(events)  # the end of the pipe is the end of the browser
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


class Page:
    """The one page of a browser: what it logs, its expressions and what it looks like."""

    def __init__(self, command: int, events: int, page: Path) -> None:
        self._command, self._events, self._read = command, events, b""
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self.said: list[tuple[str, str]] = []  # (level, message) of every line on the console
        target = next(each for each in self.do("Target.getTargets")["targetInfos"] if each["type"] == "page")
        attached = self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.do(f"{domain}.enable")
        self.do("Page.navigate", url=page.as_uri())
        self.until("location.protocol == 'file:' && document.readyState == 'complete'")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; RuntimeError where the browser refuses it."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **self._session}
        os.write(self._command, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != number:
                self._note(answer.get("method"), answer.get("params", {}))
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is worth here; RuntimeError where it throws."""
        done = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def until(self, expression: str, seconds: float = 20) -> None:
        """Wait until an expression is true; TimeoutError where it never is."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"not true after {seconds:.0f} s: {expression}")
            time.sleep(0.05)

    def click(self, selector: str, words: str) -> None:
        """Click on the first element of a CSS selector that shows exactly these words."""
        found = f"[...document.querySelectorAll({selector!r})].find(each => each.innerText?.trim() == {words!r})"
        self.until(f"!!{found}")
        self.value(f"{found}.click()")

    def picture(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot")["data"]))

    def _next(self, seconds: float = 30) -> dict[str, Any]:
        while b"\0" not in self._read:
            if not select.select([self._events], [], [], seconds)[0]:
                raise TimeoutError(f"the browser has said nothing for {seconds:.0f} s")
            if not (more := os.read(self._events, 1 << 16)):
                raise RuntimeError("the browser has ended")
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def _note(self, event: str | None, said: dict[str, Any]) -> None:
        if event == "Runtime.consoleAPICalled":
            words = " ".join(str(each.get("value", each.get("description", ""))) for each in said["args"])
            self.said.append((said["type"], words))
        elif event == "Runtime.exceptionThrown":
            self.said.append(("error", json.dumps(said["exceptionDetails"])))
        elif event == "Log.entryAdded":
            self.said.append((said["entry"]["level"], said["entry"]["text"]))
