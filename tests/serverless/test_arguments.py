"""What clients pass becomes what methods are annotated to take, or an error that says why not."""

import dataclasses
import datetime
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from tests.serverless.calling import NOWHERE, Host

from hubbub.errors import ConfigError, ProtocolError
from hubbub.serverless import ArgumentError, ServerlessHub


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Note(msgspec.Struct, rename="camel"):
    text: str
    written_at: datetime.date


class Person(pydantic.BaseModel):
    name: str
    age: int


class Hub(ServerlessHub):
    async def echo(self, value: Any) -> Any:
        return value

    async def unannotated(self, value):  # type: ignore[no-untyped-def]
        return value

    async def add(self, first: int, second: float) -> float:
        return first + second

    async def move(self, point: Point) -> Any:
        return [type(point).__name__, point]

    async def keep(self, note: Note) -> Any:
        return [type(note).__name__, note]

    async def greet(self, people: list[Person], by: Person | None = None) -> Any:
        return [[person.age for person in people], by]

    async def choose(self, colour: Literal["red", "blue"] = "red", *numbers: int) -> Any:
        return [colour, sum(numbers)]

    def wait(self, seconds: int) -> int:
        return seconds

    async def nothing(self) -> None:
        return None


@pytest.fixture
def host() -> Host:
    return Host(Hub(NOWHERE))


@pytest.mark.parametrize(
    "value", [None, True, 1, -1.5, "häl\u1e9elo", [1, [2]], {"a": {"b": None}}]
)
@pytest.mark.parametrize("method", ["echo", "unannotated"])
async def test_any_value_is_passed_as_it_is(host: Host, method: str, value: Any) -> None:
    assert await host.call(method, value) == value


async def test_arguments_are_bound_in_order(host: Host) -> None:
    assert await host.call("add", 1, 2) == 3.0
    assert await host.call("wait", 5) == 5


async def test_a_dataclass_is_made_and_what_is_left_out_has_its_default(host: Host) -> None:
    assert await host.call("move", {"x": 1}) == ["Point", {"x": 1.0, "y": 0.0}]


async def test_a_struct_is_made_with_its_own_names_on_the_wire(host: Host) -> None:
    note = {"text": "hello", "writtenAt": "2024-02-29"}

    assert await host.call("keep", note) == ["Note", note]


async def test_models_of_pydantic_are_made_in_lists_and_where_none_is_allowed(host: Host) -> None:
    ann = {"name": "Ann", "age": 7}

    assert await host.call("greet", [ann, ann], ann) == [[7, 7], ann]
    assert await host.call("greet", [], None) == [[], None]


async def test_parameters_with_defaults_may_be_left_out_and_the_rest_is_taken(host: Host) -> None:
    assert await host.call("choose") == ["red", 0]
    assert await host.call("choose", "blue", 1, 2, 3) == ["blue", 6]


async def test_a_method_without_parameters_returns_null(host: Host) -> None:
    assert await host.call("nothing") is None


@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("add", [1], "add takes 2 arguments (first, second), but was called with 1."),
        ("add", [1, 2, 3], "add takes 2 arguments (first, second), but was called with 3."),
        ("nothing", [1], "nothing takes no arguments, but was called with 1."),
        ("echo", [], "echo takes 1 argument (value), but was called with 0."),
        ("greet", [], "greet takes 1 to 2 arguments (people, by), but was called with 0."),
        ("add", ["1", 2], "Argument 1 of add, 'first', does not fit: Expected `int`, got `str`."),
        ("add", [1.5, 2], "Argument 1 of add, 'first', does not fit: Expected `int`, got `float`."),
        ("add", [1, None], "Argument 2 of add, 'second', does not fit: Expected `float`"),
        ("add", [True, 2], "Argument 1 of add, 'first', does not fit: Expected `int`, got `bool`."),
        ("move", [{"y": 1}], "'point', does not fit: Object missing required field `x`."),
        ("move", [[1, 2]], "'point', does not fit: Expected `object`, got `array`."),
        (
            "keep",
            [{"text": "a", "writtenAt": "b"}],
            "Invalid RFC3339 encoded date - at `$.writtenAt`",
        ),
        ("greet", [[{"name": "Ann"}]], "'people', does not fit: age: Field required - at `$[0]`."),
        ("choose", ["green"], "'colour', does not fit: Invalid enum value 'green'."),
        ("choose", ["red", 1, "2"], "Argument 3 of choose, 'numbers', does not fit"),
        ("wait", ["long"], "Argument 1 of wait, 'seconds', does not fit"),
    ],
)
async def test_an_argument_that_does_not_fit_is_named_with_what_was_expected(
    host: Host, method: str, arguments: list[Any], words: str
) -> None:
    with pytest.raises(ArgumentError) as raised:
        await host.call(method, *arguments)

    assert words in str(raised.value)


async def test_what_a_model_complains_about_does_not_show_what_the_client_sent(host: Host) -> None:
    with pytest.raises(ArgumentError) as raised:
        await host.call("greet", [{"name": "Ann", "age": "secret"}])

    assert "age: Input should be a valid integer" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", '{"Hub": 1}', '{"Arguments": {}}', "[" * 9]
)
async def test_what_is_no_trigger_is_refused(host: Host, text: str) -> None:
    function = host.functions["Hub_nothing"].get_user_function()

    with pytest.raises(ProtocolError, match="not the value of a signalRTrigger"):
        await function(invocation=text)


class Unknown:
    """JSON can never become this."""


def test_a_parameter_that_json_cannot_become_is_refused_when_the_hub_is_made() -> None:
    with pytest.raises(ConfigError, match=r"Bad\.take: a client cannot give 'it' a Unknown"):

        class Bad(ServerlessHub):
            async def take(self, it: list[Unknown]) -> None: ...


def test_a_union_that_cannot_be_told_apart_is_refused_when_the_hub_is_made() -> None:
    with pytest.raises(ConfigError, match=r"Bad\.take: the type of 'it' cannot be read"):

        class Bad(ServerlessHub):
            async def take(self, it: Point | dict[str, int]) -> None: ...


def test_an_annotation_that_is_not_defined_is_refused_when_the_hub_is_made() -> None:
    with pytest.raises(ConfigError, match=r"Bad\.take: its annotations cannot be read: .*Missing"):

        class Bad(ServerlessHub):
            async def take(self, it: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_parameters_that_have_to_be_named_are_refused_when_the_hub_is_made() -> None:
    with pytest.raises(ConfigError, match=r"Bad\.take: .* nothing can be given to 'text'"):

        class Bad(ServerlessHub):
            async def take(self, *, text: str) -> None: ...

    with pytest.raises(ConfigError, match="nothing can be given to 'options'"):

        class Worse(ServerlessHub):
            async def take(self, **options: str) -> None: ...


class Strange(ServerlessHub):
    async def give(self, what: str) -> Any:
        return {"dates": (datetime.date(2024, 1, 2),), "bytes": b"\x00", "set": {1}}[what]

    async def give_nothing_json_knows(self) -> Any:
        return Unknown()


async def test_results_are_values_that_every_host_can_send() -> None:
    host = Host(Strange(NOWHERE))

    assert list(await host.call("give", "dates")) == ["2024-01-02"]
    assert await host.call("give", "bytes") == "AA=="
    assert await host.call("give", "set") == [1]
    with pytest.raises(TypeError, match="A Unknown is not JSON"):
        await host.call("give_nothing_json_knows")
