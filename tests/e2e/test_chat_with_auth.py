"""The sample with sign-in, in headless Chromium: who may say what to whom."""

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from tests.e2e.running import Start, clean_environment, end, first_line, missing

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples/chat-with-auth"
PACKAGED_CLIENT = ROOT / "src/hubbub/service/static/signalr.js"
PATIENCE_MS = 60_000  # no test asserts how fast a thing is; this only ends a test that hangs

SignIn = Callable[..., Page]


@pytest.fixture(autouse=True)
def _the_browser_client_is_packaged() -> None:
    if not PACKAGED_CLIENT.is_file():
        missing("the official browser client is not packaged (hatch_build.py needs npm)")


@pytest.fixture
def site(start: Start, tmp_path: Path) -> Iterator[str]:
    """The address of the page behind the sign-in."""
    app = start(SAMPLE)
    command = [sys.executable, str(SAMPLE / "signin.py"), "--port", "0", "--app", app.host_url]
    with (tmp_path / "signin.log").open("w") as log:
        process = subprocess.Popen(
            command,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        line = first_line(process)
        assert line, (tmp_path / "signin.log").read_text()
        yield line.strip()
    finally:
        end(process)


@pytest.fixture
def sign_in(browser: Browser, site: str) -> Iterator[SignIn]:
    """`sign_in(name)` is somebody with a browser of their own, connected."""
    expect.set_options(timeout=PATIENCE_MS)
    people: list[BrowserContext] = []

    def enter(name: str, *, admin: bool = False) -> Page:
        people.append(browser.new_context())
        people[-1].set_default_timeout(PATIENCE_MS)
        page = people[-1].new_page()
        page.goto(site)
        page.get_by_role("link", name="Sign in").click()
        page.get_by_label("Name").fill(name)
        page.get_by_label("as an administrator").set_checked(admin)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#state")).to_have_text("Connected")
        return page

    yield enter
    for context in people:
        context.close()


def say(page: Page, text: str, user: str = "") -> None:
    """Send a text to a user or, without one, to everybody; wait until the app has answered."""
    page.get_by_label("To", exact=True).select_option("user" if user else "everyone")
    if user:
        page.get_by_label("Which one").fill(user)
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#say")).to_have_attribute("aria-busy", "false")


def messages(page: Page) -> Locator:
    return page.locator("#log li")


def test_a_private_message_reaches_its_user_and_its_sender(sign_in: SignIn) -> None:
    ann, bob, eve = sign_in("Ann", admin=True), sign_in("Bob"), sign_in("Eve")

    say(bob, "between us", "Ann")
    say(ann, "to everybody")

    expect(messages(eve)).to_have_text(["Ann to everyoneto everybody"])
    for page in (ann, bob):
        expect(messages(page)).to_have_text(["Bob to Annbetween us", "Ann to everyoneto everybody"])


def test_who_is_no_administrator_is_told_so_and_nobody_hears_it(sign_in: SignIn) -> None:
    ann, bob = sign_in("Ann", admin=True), sign_in("Bob")

    say(bob, "listen all")
    expect(messages(bob)).to_contain_text(
        ["announce needs the claim 'admin' with the value 'true'"]
    )
    expect(bob.get_by_label("Message", exact=True)).to_have_value("listen all")
    say(ann, "bye")

    expect(messages(ann)).to_have_text(["Ann to everyonebye"])


def test_who_has_not_signed_in_gets_no_token(sign_in: SignIn, site: str) -> None:
    ann = sign_in("Ann")
    ann.get_by_role("link", name="sign out").click()
    expect(ann.get_by_role("link", name="Sign in")).to_be_visible()

    answers = []
    for headers in ({}, {"x-ms-client-principal-id": "Ann"}):
        url = site.replace("index", "negotiate")
        request = urllib.request.Request(url, method="POST", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answers.append(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                answers.append(error.code)

    assert answers == [401, 401]
