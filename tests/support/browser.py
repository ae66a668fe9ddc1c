"""A real browser without a network, for the tests of pages."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

LIMIT = 600.0
OFFLINE = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.fail(
            "the report is tested in a real browser: install Debian's packages chromium and "
            "chromium-driver"
        )
    binary, driver = (str(program) for program in programs)
    options = ChromeOptions()
    options.binary_location = binary
    for flag in OFFLINE:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


def open_page(
    browser: Chrome,
    page: Path,
    *,
    width: int = 1280,
    height: int = 800,
    anchor: str = "",
    dark: bool = False,
) -> None:
    """Open a page anew, and wait until its charts are drawn."""
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    emulate_scheme(browser, dark=dark)
    browser.get(page.as_uri() + (f"#{anchor}" if anchor else ""))
    WebDriverWait(browser, LIMIT).until(
        lambda b: b.execute_script("return document.body.dataset.drawn === 'yes'")
    )


def emulate_scheme(browser: Chrome, *, dark: bool) -> None:
    """Show the page as to a reader whose screen is light or dark."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def console(browser: Chrome) -> list[str]:
    """Everything that the page said since it was opened."""
    return [entry["message"] for entry in browser.get_log("browser")]


def requests(browser: Chrome) -> list[str]:
    """Every address that the page asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent]
