"""The two programs of the README run as they stand: its chat in Chromium, its script in Python."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, expect
from tests.e2e.running import Start, missing

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 60_000  # no test asserts how fast a thing is; this only ends a test that hangs


@pytest.fixture(autouse=True)
def _the_browser_client_is_packaged() -> None:
    if not (ROOT / "src/hubbub/service/static/signalr.js").is_file():
        missing("the official browser client is not packaged (hatch_build.py needs npm)")


def test_the_chat_and_the_script_of_the_readme_reach_its_page(
    start: Start, context: BrowserContext, tmp_path: Path
) -> None:
    chat, script = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    app = tmp_path / "app"
    app.mkdir()
    (app / "host.json").write_text('{"version": "2.0"}')
    (app / "function_app.py").write_text(chat)
    hubbub = start(app)
    # The only change: a test takes free ports.
    port = str(urlsplit(hubbub.service_url).port)
    context.route(
        "http://localhost:8888/**",
        lambda route: route.continue_(url=route.request.url.replace("8888", port)),
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()

    page.goto(hubbub.url("index"))
    page.wait_for_function("connection.state === 'Connected'")
    page.locator("#text").fill("hello")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#log li")).to_have_text(["hello"], timeout=PATIENCE_MS)

    text = hubbub.facts["service"]["connectionString"]
    environment = {**os.environ, "AzureSignalRConnectionString": text}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
    expect(page.locator("#log li")).to_have_text(
        ["hello", "hello from a script"], timeout=PATIENCE_MS
    )
