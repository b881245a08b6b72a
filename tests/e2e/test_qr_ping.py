"""The QR ping sample in headless Chromium: real processes, the real client, nothing faked."""

import json
import re
import shutil
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Response, Route, expect
from tests.e2e.running import Hubbub, Start, missing

ROOT = Path(__file__).parents[2]
APP = ROOT / "samples" / "qr-ping"
PACKAGED_CLIENT = ROOT / "src/hubbub/service/static/signalr.js"
INSTALLED_CLIENT = ROOT / "node_modules/@microsoft/signalr/dist/browser/signalr.min.js"
PATIENCE_MS = 60_000  # no test asserts how fast a thing is; this only ends a test that hangs

# Notes each change of the border or of the number of pings, with the page's own clock.
RECORD = """() => {
  const qr = document.getElementById("qr");
  window.seen = [];
  new MutationObserver(() => window.seen.push({
    at: performance.now(), lit: qr.classList.contains("lit"), pings: Number(qr.dataset.pings),
  })).observe(qr, { attributes: true, attributeFilter: ["class", "data-pings"] });
}"""
# The observer hears of a ping a moment after the page set its timer by it.
OBSERVER_LAG_MS = 10


@pytest.fixture(autouse=True)
def _the_browser_client_is_packaged() -> None:
    if not PACKAGED_CLIENT.is_file():
        missing("the official browser client is not packaged (hatch_build.py needs npm)")


@pytest.fixture
def page(context: BrowserContext) -> Page:
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    return context.new_page()


def connected(page: Page) -> None:
    page.wait_for_selector("html[data-state=connected]")
    page.evaluate(RECORD)


def open_elsewhere(link: str) -> str:
    """Open a link as a program that is no browser does."""
    with urllib.request.urlopen(link, timeout=30) as response:
        return str(response.read().decode())


def link_of(page: Page) -> str:
    return str(page.get_by_role("link", name="/ping").get_attribute("href"))


def lit(page: Page) -> bool:
    return bool(page.evaluate("document.getElementById('qr').classList.contains('lit')"))


def record(page: Page, length: int) -> list[dict[str, Any]]:
    """Wait until the page has noted so many changes, and return them all."""
    page.wait_for_function("length => window.seen.length >= length", arg=length)
    return list(page.evaluate("window.seen"))


def test_opening_the_link_elsewhere_lights_the_border_for_one_second(
    start: Start, page: Page
) -> None:
    page.goto(start(APP).url("index"))
    connected(page)

    answer = open_elsewhere(link_of(page))

    on, out = record(page, 2)
    assert "Ping sent" in answer
    assert (on["lit"], on["pings"]) == (True, 1)
    assert (out["lit"], out["pings"]) == (False, 1)
    assert out["at"] - on["at"] >= 1000 - OBSERVER_LAG_MS
    expect(page.locator("#tally")).to_have_text("1 ping seen")
    expect(page.locator("#state")).to_have_text("Connected")


def test_a_ping_in_the_middle_starts_the_second_again(start: Start, page: Page) -> None:
    page.clock.install()
    page.goto(start(APP).url("index"))
    connected(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)

    open_elsewhere(link_of(page))
    page.wait_for_selector("#qr.lit[data-pings='1']")
    page.clock.run_for(600)
    open_elsewhere(link_of(page))
    page.wait_for_selector("#qr.lit[data-pings='2']")

    page.clock.run_for(999)
    assert lit(page)
    page.clock.run_for(1)
    assert not lit(page)
    first, second, out = record(page, 3)
    assert [first["lit"], second["lit"], out["lit"]] == [True, True, False]
    assert (second["at"] - first["at"], out["at"] - second["at"]) == (600, 1000)


def test_every_page_that_shows_the_code_lights_up(start: Start, context: BrowserContext) -> None:
    context.set_default_timeout(PATIENCE_MS)
    app = start(APP)
    pages = [context.new_page() for _ in range(3)]
    for page in pages:
        page.goto(app.url("index"))
        connected(page)

    phone = context.new_page()
    phone.goto(link_of(pages[0]))
    for page in pages:
        assert record(page, 1)[0]["lit"]
    phone.get_by_role("button", name="Ping again").click()

    for page in pages:
        page.wait_for_selector("#qr[data-pings='2']")
    expect(phone.locator("main")).to_contain_text("Ping sent")


def test_nothing_but_this_machine_is_asked_and_the_client_comes_from_the_service(
    start: Start, page: Page
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    app = start(APP)

    page.goto(app.url("index"))
    connected(page)

    assert f"{app.service_origin}/scripts/signalr.js" in asked
    hosts = {urlsplit(url).hostname for url in asked if url.startswith("http")}
    assert hosts <= {"127.0.0.1", "localhost"}


def test_a_service_without_the_client_sends_the_page_to_the_cdn(start: Start, page: Page) -> None:
    if not INSTALLED_CLIENT.is_file():
        missing("@microsoft/signalr is not in node_modules (npm ci)")
    asked: list[str] = []

    def cdn(route: Route) -> None:
        asked.append(route.request.url)
        allowed = {"Access-Control-Allow-Origin": "*", "Content-Type": "text/javascript"}
        route.fulfill(path=INSTALLED_CLIENT, headers=allowed)

    page.route("**/scripts/signalr.js", lambda route: route.fulfill(status=404))
    page.route(re.compile("^https:"), cdn)
    page.goto(start(APP).url("index"))
    connected(page)  # the browser has compared the script's checksum with the page's

    assert [urlsplit(url).hostname for url in asked] == ["cdn.jsdelivr.net"]


def app_for(origin: str, folder: Path) -> Path:
    """Copy the sample, with one origin let in."""
    shutil.copytree(APP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "local.settings.json"
    settings = json.loads(path.read_text())
    settings["Host"] |= {"CORS": origin, "CORSCredentials": True}
    path.write_text(json.dumps(settings))
    return folder


def put_page(folder: Path, app: Hubbub) -> None:
    """Put the page on another server, as the sample's README says."""
    text = (APP / "index.html").read_text(encoding="utf-8")
    api = app.url("index").removesuffix("index")
    assert text.count('data-api=""') == 1
    (folder / "page.html").write_text(text.replace('data-api=""', f'data-api="{api}"'))


def test_the_page_works_from_another_origin_with_credentials(
    start: Start, page: Page, other_origin: tuple[str, Path], tmp_path: Path
) -> None:
    origin, site = other_origin
    app = start(app_for(origin, tmp_path / "app"))
    put_page(site, app)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))

    page.goto(f"{origin}/page.html")
    connected(page)
    page.wait_for_selector("#code svg")
    assert link_of(page) == app.url("ping")
    open_elsewhere(link_of(page))

    on, out = record(page, 2)
    assert page.evaluate("location.origin") == origin != app.host_url
    assert (on["lit"], out["lit"]) == (True, False)
    assert out["at"] - on["at"] >= 1000 - OBSERVER_LAG_MS
    negotiations = [answer for answer in answers if "/negotiate" in answer.url]
    assert {urlsplit(answer.url).port for answer in negotiations} == {
        urlsplit(app.host_url).port,
        urlsplit(app.service_url).port,
    }
    for answer in negotiations:
        assert answer.header_value("Access-Control-Allow-Origin") == origin
        assert answer.header_value("Access-Control-Allow-Credentials") == "true"


def test_an_origin_that_is_not_let_in_does_not_connect(
    start: Start, page: Page, other_origin: tuple[str, Path], tmp_path: Path
) -> None:
    origin, site = other_origin
    put_page(site, start(app_for("http://somebody.example", tmp_path / "app")))

    page.goto(f"{origin}/page.html")

    page.wait_for_selector("html[data-state=offline]")
    expect(page.locator("#state")).to_have_text("Not connected, trying again")


def test_the_page_reconnects_by_itself_after_a_restart(start: Start, page: Page) -> None:
    first = start(APP)
    page.goto(first.url("index"))
    connected(page)
    link = link_of(page)

    assert first.stop() == 0
    page.wait_for_selector("html:not([data-state=connected])")
    start(APP, *first.port_options)
    page.wait_for_selector("html[data-state=connected]")
    open_elsewhere(link)

    on, out = record(page, 2)
    assert (on["lit"], out["lit"]) == (True, False)


def test_a_page_that_was_there_before_the_service_connects_when_it_comes(
    start: Start, page: Page, other_origin: tuple[str, Path], tmp_path: Path
) -> None:
    origin, site = other_origin
    folder = app_for(origin, tmp_path / "app")
    first = start(folder)
    put_page(site, first)
    first.stop()

    page.goto(f"{origin}/page.html")
    page.wait_for_selector("html[data-state=offline]")
    start(folder, *first.port_options)

    connected(page)
