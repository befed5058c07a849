"""A real browser for the pages that we make: Chromium, where it is installed."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]


@asynccontextmanager
async def browser_page() -> AsyncIterator[Any]:
    """A blank page; skips the test where there is no browser."""
    if _CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield await browser.new_page()
        await browser.close()
