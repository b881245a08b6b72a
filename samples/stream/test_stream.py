"""The app as a host of Azure Functions sees it, and what its oracle says.

What it does in a browser is in `tests/e2e/test_stream.py`.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from tests.serverless.indexing import OURS, SERVER, index

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def app() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stream_sample", HERE / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_app_indexes_with_azure_functions_alone() -> None:
    functions = index(HERE, f"{OURS},{SERVER}")

    assert set(functions) == {"Oracle_ask", "index", "negotiate"}
    ask = functions["Oracle_ask"]
    (trigger,) = ask["bindings"]
    assert (trigger["type"], trigger["hubName"]) == ("signalRTrigger", "Oracle")
    assert (trigger["category"], trigger["event"]) == ("messages", "ask")
    assert ask["parameters"] == [trigger["name"]]
    assert ask["isAsync"]  # a worker awaits it, and does not take it for a generator


def test_the_oracle_says_the_same_to_the_same_question(app: ModuleType) -> None:
    answers = {question: list(app.words_of(question)) for question in ("Why?", "How?", "When?")}

    assert all(list(app.words_of(question)) == answers[question] for question in answers)
    assert {"".join(words)[:11] for words in answers.values()} == {"You ask: “W", "You ask: “H"}
    assert all(len(words) > 50 for words in answers.values())
    assert all(0 < app.pause_before(word) < 0.2 for words in answers.values() for word in words)
