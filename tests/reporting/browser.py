"""A real browser, driven over the DevTools protocol, with its network cut off."""

import asyncio
import itertools
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
PATIENCE = 30  # seconds


class Browser:
    """A page of Chromium. ``requests`` are the addresses that it asked for over a network, ``faults`` the errors of its scripts."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self.requests: list[str] = []
        self.faults: list[str] = []
        self._socket = socket
        self._contexts: list[int] = []
        self._numbers = itertools.count()

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer; what the page reports in between is noted."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=PATIENCE)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message["params"]
        match message["method"]:
            case "Runtime.executionContextCreated":
                self._contexts.append(parameters["context"]["id"])
            case "Runtime.executionContextDestroyed":
                self._contexts.remove(parameters["executionContextId"])
            case "Runtime.executionContextsCleared":
                self._contexts.clear()
            case "Runtime.exceptionThrown":
                self.faults.append(json.dumps(parameters["exceptionDetails"]))
            case "Network.requestWillBeSent" if not parameters["request"]["url"].startswith(("file:", "data:", "blob:", "about:")):
                self.requests.append(parameters["request"]["url"])

    async def evaluate(self, expression: str, *, frame: int = 0) -> Any:
        """The value of an expression in the page, or in the frame that came ``frame``-th after it (-1: the newest)."""
        await self.send("Runtime.evaluate", expression="0")  # lets the page report its frames
        result = await self.send("Runtime.evaluate", expression=expression, contextId=self._contexts[frame], returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait_for(self, expression: str, *, frame: int = 0) -> Any:
        """The value of an expression as soon as it is true."""
        for _ in range(10 * PATIENCE):
            try:
                value = await self.evaluate(expression, frame=frame)
            except AssertionError:  # the page is not there yet
                value = None
            if value:
                return value
            await asyncio.sleep(0.1)
        raise TimeoutError(f"{expression} never came true")

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.send("Input.insertText", text=text)


def browse(address: str, visit: Callable[[Browser], Awaitable[None]], folder: Path) -> Browser:
    """Open ``address`` in a fresh Chromium without a network, and ``visit`` it. The browser's own files go to ``folder``."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    no_network = ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>"]
    assert CHROMIUM
    process = subprocess.Popen([CHROMIUM, *options, *no_network, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return asyncio.run(_visit(folder / "DevToolsActivePort", address, visit))
    finally:
        process.kill()
        process.wait()


async def _visit(port_file: Path, address: str, visit: Callable[[Browser], Awaitable[None]]) -> Browser:
    for _ in range(10 * PATIENCE):
        if port_file.exists() and (lines := port_file.read_text().split()):
            break
        await asyncio.sleep(0.1)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{lines[0]}") as session:
        async with session.get("/json/list") as answer:
            (page,) = [target for target in await answer.json() if target["type"] == "page"]
        async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            browser = Browser(socket)
            for domain in ("Page", "Runtime", "Network"):
                await browser.send(f"{domain}.enable")
            conditions = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
            await browser.send("Network.emulateNetworkConditions", **conditions)
            await browser.send("Page.navigate", url=address)
            await visit(browser)
            return browser
