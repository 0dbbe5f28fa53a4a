"""An installed Chromium, driven by playwright."""

import shutil
from contextlib import contextmanager

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
# Three dimensions without a graphics card.
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextmanager
def chromium(*arguments):
    """Yield a browser that is closed afterwards."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


def watched(page):
    """Return lists that fill with what a page says and with what it asks for."""
    said, asked = [], set()
    page.on(
        "console",
        lambda message: said.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda call: asked.add(call.url))
    return said, asked
