"""The stream sample in headless Chromium: an answer arrives word by word, and can be stopped."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from tests.e2e.running import Hubbub, Start, missing

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples/stream"
PACKAGED_CLIENT = ROOT / "src/hubbub/service/static/signalr.js"
PATIENCE_MS = 60_000  # no test asserts how fast a thing is; this only ends a test that hangs

Visit = Callable[[], Page]


def _load_sample() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stream_sample", SAMPLE / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAMPLE_APP = _load_sample()


@pytest.fixture(autouse=True)
def _the_browser_client_is_packaged() -> None:
    if not PACKAGED_CLIENT.is_file():
        missing("the official browser client is not packaged (hatch_build.py needs npm)")


@pytest.fixture
def running(start: Start) -> Hubbub:
    return start(SAMPLE)


@pytest.fixture
def visit(running: Hubbub, context: BrowserContext) -> Visit:
    """`visit()` opens one more page and waits until it is connected."""
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)

    def visit_page() -> Page:
        page = context.new_page()
        page.goto(running.url("index"))
        expect(page.locator("#state")).to_have_text("Connected")
        return page

    return visit_page


def ask(page: Page, question: str) -> Locator:
    """Ask, and return the answer that begins."""
    answers = page.locator("article")
    before = answers.count()
    page.bring_to_front()
    page.get_by_label("Question", exact=True).fill(question)
    page.get_by_role("button", name="Ask").click()
    expect(answers).to_have_count(before + 1)
    return answers.nth(before)


def whole(question: str) -> str:
    return "".join(SAMPLE_APP.words_of(question)).strip()


def has_ended(answer: Locator, state: str) -> None:
    expect(answer).to_have_attribute("data-state", state)


def test_an_answer_arrives_word_by_word_and_is_whole_in_the_end(visit: Visit) -> None:
    page = visit()
    answer = ask(page, "Is it worth the wait?")

    words = answer.locator(".answer span")
    expect(words.nth(2)).to_be_attached()
    assert answer.get_attribute("data-state") == "answering"  # there is more to come
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    has_ended(answer, "done")

    expect(answer.locator(".answer")).to_have_text(whole("Is it worth the wait?"))
    count = len(list(SAMPLE_APP.words_of("Is it worth the wait?")))
    expect(words).to_have_count(count)
    facts = rf"^{count} words in [\d.]+ s, the first after \d+ ms, done$"
    expect(answer.locator(".facts")).to_have_text(re.compile(facts))
    expect(page.get_by_role("button", name="Ask")).to_be_enabled()


def test_stop_ends_the_answer_and_its_function(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    first = ask(page, "How long is it?")
    expect(first.locator(".answer span").nth(2)).to_be_attached()

    page.get_by_role("button", name="Stop").click()
    has_ended(first, "stopped")
    stopped = first.locator(".answer").inner_text()
    second = ask(page, "And now?")
    has_ended(second, "done")

    assert whole("How long is it?").startswith(stopped)
    assert stopped != whole("How long is it?")
    assert first.locator(".answer").inner_text() == stopped
    expect(second.locator(".answer")).to_have_text(whole("And now?"))
    # Its function ended before that of the second question, which was whole.
    log = (tmp_path / "hubbub.log").read_text()
    assert len(re.findall(r"Executed 'Functions\.Oracle_ask' \((Succeeded|Cancelled),", log)) == 2


def test_two_pages_get_their_own_answers_at_the_same_time(visit: Visit) -> None:
    one, other = visit(), visit()
    first, second = ask(one, "Who is there?"), ask(other, "Who else?")

    for answer, question in [(first, "Who is there?"), (second, "Who else?")]:
        has_ended(answer, "done")
        expect(answer.locator(".answer")).to_have_text(whole(question))
    expect(one.locator("article")).to_have_count(1)
    expect(other.locator("article")).to_have_count(1)


def test_a_question_that_has_no_answer_is_told_in_the_apps_words(visit: Visit) -> None:
    page = visit()
    answer = ask(page, "   ")

    has_ended(answer, "failed")
    expect(answer.locator(".facts")).to_have_text("A question has 1 to 200 characters.")


def test_a_question_that_looks_like_a_page_stays_a_text(visit: Visit) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    answer = ask(visit(), hostile)

    has_ended(answer, "done")
    expect(answer.locator(".answer")).to_have_text(whole(hostile))
    expect(answer.locator("img")).to_have_count(0)


def test_the_page_fits_a_phone(visit: Visit) -> None:
    page = visit()
    page.set_viewport_size({"width": 360, "height": 640})
    answer = ask(page, "x" * 200)
    expect(answer.locator(".answer span").nth(2)).to_be_attached()

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    expect(page.get_by_role("button", name="Stop")).to_be_in_viewport()
    page.keyboard.press("Escape")
    has_ended(answer, "stopped")
