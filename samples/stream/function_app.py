"""A slow answer, word by word: the page asks with `stream`, and a generator yields.

The oracle stands for a language model, an import or anything else that has parts to show before it
is done. It asks nobody and says the same to the same question.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import azure.functions as func
from msgspec import Struct

from hubbub import ServerlessHub

HERE = Path(__file__).parent
LONGEST_QUESTION = 200  # characters
PASSAGES = (
    (
        "Look at how this arrives: not as a page that was long in coming, but a word at a time, "
        "while the rest of it does not exist yet. Somewhere a function is in the middle of a "
        "loop. It has said this much, it is waiting a moment, and then it says more. You could "
        "begin to read at once, and you did. That is all there is to it: what takes long feels "
        "short when it has begun."
    ),
    (
        "I have considered it with great care, for several milliseconds. There is much to be "
        "said for it. There is also much to be said against it, and I could go on about that. "
        "As long as you watch, I do. Press the button when you have heard enough: the service "
        "stops listening to me, my generator is closed where it stands, and not one more word "
        "is made for nobody."
    ),
    (
        "The honest answer is yes. The careful answer is that it depends on what you mean. The "
        "long answer is this one, and it is still going on. Between two words I sleep, and "
        "while I sleep the same process talks to others. Each of them hears its own words in "
        "their order, and none of them waits for you. You may open this page twice and ask two "
        "things at the same time."
    ),
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


class Token(Struct):
    """A piece of an answer."""

    text: str
    number: int


class QuestionError(Exception):
    """A question that has no answer here. The page shows the message."""


def words_of(question: str) -> Iterator[str]:
    """The answer to `question`, cut so that the pieces joined are the whole."""
    passage = PASSAGES[zlib.crc32(question.lower().encode()) % len(PASSAGES)]
    for word in f"You ask: “{question}” {passage}".split(" "):
        yield f"{word} "


def pause_before(word: str) -> float:
    """Seconds; long words take longer."""
    return 0.02 + 0.006 * len(word)


class Oracle(ServerlessHub):
    """Answers questions."""

    async def ask(self, question: str) -> AsyncIterator[Token]:
        """What the page gets from `connection.stream("ask", question)`."""
        question = " ".join(question.split())
        if not 1 <= len(question) <= LONGEST_QUESTION:
            raise QuestionError(f"A question has 1 to {LONGEST_QUESTION} characters.")
        for number, word in enumerate(words_of(question), 1):
            await asyncio.sleep(pause_before(word))
            yield Token(word, number)


oracle = Oracle().register(app)


@app.route(methods=["GET"])
def index(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the page."""
    page = (HERE / "index.html").read_text(encoding="utf-8")
    return func.HttpResponse(page, mimetype="text/html")


@app.route(methods=["POST"])
def negotiate(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the address of the service and a token."""
    return func.HttpResponse(oracle.negotiate().json(), mimetype="application/json")
