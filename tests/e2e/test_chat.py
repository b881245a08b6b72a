"""The two chat samples in headless Chromium: the same room, as a class and as bindings."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from tests.e2e.running import Start, missing

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
PACKAGED_CLIENT = ROOT / "src/hubbub/service/static/signalr.js"
PATIENCE_MS = 60_000  # no test asserts how fast a thing is; this only ends a test that hangs

Enter = Callable[[str], Page]


@pytest.fixture(autouse=True)
def _the_browser_client_is_packaged() -> None:
    if not PACKAGED_CLIENT.is_file():
        missing("the official browser client is not packaged (hatch_build.py needs npm)")


@pytest.fixture(params=["chat", "chat-functions"])
def enter(request: pytest.FixtureRequest, start: Start, context: BrowserContext) -> Enter:
    """`enter(name)` opens one more page and waits until it is connected under that name."""
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    app = start(SAMPLES / request.param)

    def enter_room(name: str) -> Page:
        page = context.new_page()
        page.goto(app.url("index"))
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Enter").click()
        expect(page.locator("#state")).to_have_text("Connected")
        return page

    return enter_room


def connection_id(page: Page) -> str:
    return page.locator("#id").inner_text()


def say(page: Page, text: str, kind: str = "everyone", whom: str = "") -> None:
    """Send a text and wait until the app has answered."""
    page.bring_to_front()
    page.get_by_label("To", exact=True).select_option(kind)
    if whom:
        page.get_by_label("Which one").fill(whom)
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#say")).to_have_attribute("aria-busy", "false")


def messages(page: Page) -> Locator:
    return page.locator("#log li:not(.note)")


def has_heard(page: Page, *texts: str) -> None:
    expect(messages(page)).to_have_text([*texts])


def change_group(page: Page, button: str, group: str, user: str = "") -> None:
    """Press a button about a group and wait until the app has answered."""
    page.bring_to_front()
    page.get_by_label("Group", exact=True).fill(group)
    page.get_by_label("User", exact=True).fill(user)
    notes = page.locator("#log li.note", has_text=f"group {group}")
    before = notes.count()
    page.get_by_role("button", name=button, exact=True).click()
    expect(notes).to_have_count(before + 1)


def test_messages_reach_everybody_a_user_or_a_connection(enter: Enter) -> None:
    ann, bob, bob_too = enter("Ann"), enter("Bob"), enter("Bob")

    say(ann, "hello all")
    say(bob, "hello Ann", "user", "Ann")
    say(ann, "hello both", "user", "Bob")
    say(ann, "hello one", "connection", connection_id(bob_too))
    say(ann, "bye all")

    has_heard(ann, "Ann to everyonehello all", "Bob to user Annhello Ann", "Ann to everyonebye all")
    shared = ["Ann to everyonehello all", "Ann to user Bobhello both"]
    has_heard(bob, *shared, "Ann to everyonebye all")
    has_heard(bob_too, *shared, "Ann to one connectionhello one", "Ann to everyonebye all")
    expect(ann.locator("#log li.mine")).to_have_count(2)


def test_a_connection_joins_and_leaves_a_group(enter: Enter) -> None:
    ann, bob = enter("Ann"), enter("Bob")

    change_group(bob, "Join", "red")
    say(ann, "to the red ones", "group", "red")
    change_group(bob, "Leave", "red")
    say(ann, "to nobody", "group", "red")
    say(ann, "to all")

    has_heard(ann, "Ann to everyoneto all")
    has_heard(bob, "Ann to group redto the red ones", "Ann to everyoneto all")


def test_a_user_is_put_into_a_group_with_all_connections(enter: Enter) -> None:
    ann, bob = enter("Ann"), enter("Bob")

    change_group(ann, "Add", "blue", user="Bob")
    bob_too = enter("Bob")
    say(ann, "to the blue ones", "group", "blue")
    change_group(ann, "Remove", "blue", user="Bob")
    say(ann, "to nobody", "group", "blue")
    say(ann, "to all")

    has_heard(ann, "Ann to everyoneto all")
    for page in (bob, bob_too):
        has_heard(page, "Ann to group blueto the blue ones", "Ann to everyoneto all")


def test_each_page_shows_who_is_online(enter: Enter) -> None:
    def online(page: Page, *pages: tuple[str, Page]) -> None:
        people = page.locator("#people button")
        expect(people).to_have_count(len(pages))
        for name, other in pages:
            id_ = connection_id(other)
            entry = page.locator(f"#people button[title='{id_}']")
            expect(entry).to_have_text(f"{name}…{id_[-8:]}")

    ann, bob = enter("Ann"), enter("Bob")
    eve = enter("Eve")
    everybody = [("Ann", ann), ("Bob", bob), ("Eve", eve)]
    for page in (ann, bob, eve):
        online(page, *everybody)

    ann.bring_to_front()
    ann.locator("#people button", has_text="Bob").click()
    expect(ann.get_by_label("Which one")).to_have_value(connection_id(bob))
    eve.close()

    online(ann, *everybody[:2])
    online(bob, *everybody[:2])
    expect(ann.locator("#log")).to_contain_text("Eve has left")


def test_a_text_that_looks_like_a_page_stays_a_text(enter: Enter) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    ann = enter(hostile)

    say(ann, hostile)

    has_heard(ann, f"{hostile} to everyone{hostile}")
    expect(ann.locator("#room img")).to_have_count(0)
