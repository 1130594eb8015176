"""What the browser tests share: a headless Chromium with a new, empty profile, and a watch over what a page does.

`make browser` runs them; to run one by hand: CHROMIUM=/usr/bin/chromium python -m pytest tests_browser -k search
"""

import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = (
    "--no-sandbox",  # in a container, as root, Chromium doesn't start otherwise
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Watch:
    """What went wrong in a page: console errors, exceptions, requests that failed, requests to other machines."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        page.on("console", lambda message: message.type == "error" and self.add(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.add(f"exception: {error}"))
        page.on("requestfailed", lambda request: self.add(f"failed: {request.url} ({request.failure})"))
        page.on("response", lambda reply: reply.status >= 400 and self.add(f"{reply.status}: {reply.url}"))
        page.on("request", lambda request: self.see(request.url))
        page.on("websocket", lambda socket: self.see(socket.url))

    def add(self, problem: str) -> None:
        self.problems.append(problem)

    def see(self, url: str) -> None:
        if not re.match(r"(https?|wss?)://(localhost|127\.0\.0\.1)[:/]|data:|blob:|about:", url):
            self.add(f"another machine: {url}")

    def take(self, *, harmless: tuple[str, ...] = ()) -> list[str]:
        """The problems since the last call, without those that match one of the harmless patterns."""
        found, self.problems = self.problems, []
        return [each for each in found if not any(re.search(pattern, each) for pattern in harmless)]


@pytest.fixture(scope="session")
def browser():
    program = os.environ.get("CHROMIUM")
    if not program or not shutil.which(program):
        pytest.exit("CHROMIUM names no browser; `make browser` gets one and runs these tests.", returncode=2)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which(program), headless=True, args=[*FLAGS])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def open_page(browser):
    """open_page(width, height) -> (page, watch), each in a profile of its own."""
    contexts = []

    def open_(width: int = 1280, height: int = 900, **options) -> tuple[Page, Watch]:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        return page, Watch(page)

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def picture():
    """picture(page, name) keeps what the page looks like in build/screenshots/NAME.png."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return lambda page, name, **options: page.screenshot(path=str(SCREENSHOTS / f"{name}.png"), **options)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
