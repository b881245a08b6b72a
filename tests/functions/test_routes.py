"""Route templates, their constraints, and which of several routes answers."""

from collections.abc import Callable

import pytest
from tests.functions.apps import call

from hubbub.functions.function import FunctionError
from hubbub.functions.host import Host
from hubbub.functions.routes import decode_path
from hubbub.functions.template import parse_template

Load = Callable[..., Host]


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("items", "items", {}),
        ("items", "ITEMS/", {}),
        ("items", "items/1", None),
        ("items/{id:int?}", "items/5", {"id": "5"}),
        ("items/{id:int?}", "items", {}),
        ("items/{id:int?}", "items/x", None),
        ("items/{id}", "items", None),
        ("items/{id}", "items/", None),
        ("items/{Id}", "Items/Ab", {"Id": "Ab"}),
        ("items/{id=7}", "items", {"id": "7"}),
        ("{*rest}", "", {}),
        ("{*rest}", "a/b/c", {"rest": "a/b/c"}),
        ("files/{**rest}", "files/a/b", {"rest": "a/b"}),
        ("files/{*rest}", "files", {}),
        ("files/{name}.{ext?}", "files/a.b.c", {"name": "a.b", "ext": "c"}),
        ("files/{name}.{ext?}", "files/abc", {"name": "abc"}),
        ("{a}-{b}", "1-2-3", {"a": "1-2", "b": "3"}),
        ("{a}-{b}", "-1", None),
        ("{a}-{b}", "1-", None),
        ("{a}-{b}.json", "1-2-3.JSON", {"a": "1-2", "b": "3"}),
        ("{a}-{b}.json", "1-2-3.xml", None),
        ("v{a}b", "VvxbB", {"a": "vxb"}),
        ("v{a}", "v", None),
        ("{name}.{ext?}", "a.", {"name": "a."}),
        ("{a}.{b}/c", "1.2/c", {"a": "1", "b": "2"}),
        ("a{{b}}/{c}", "a{b}/1", {"c": "1"}),
        ("v{n:int}", "v12", {"n": "12"}),
        ("v{n:int}", "vx", None),
        ("{a:regex(^\\d{{2}}$)}", "12", {"a": "12"}),
        ("{a:regex(^\\d{{2}}$)}", "123", None),
        ("{a:regex(^(x|y)$)}", "Y", {"a": "Y"}),
        ("{a:int:range(1,9)}", "9", {"a": "9"}),
        ("{a:int:range(1,9)}", "10", None),
        ("a.b", "axb", None),
        ("", "", {}),
        ("", "x", None),
    ],
)
def test_a_template_gives_the_values_of_a_path(
    template: str, path: str, values: dict[str, str] | None
) -> None:
    assert parse_template(template).match(path) == values


@pytest.mark.parametrize(
    ("constraint", "allowed", "refused"),
    [
        ("int", "-2147483648", "2147483648"),
        ("int", " 5", "\u0665"),
        ("long", "9223372036854775807", "9223372036854775808"),
        ("bool", "TRUE", "1"),
        ("datetime", "2026-01-31T10:00:00", "2026-31-31"),
        ("datetime", "31 Jan 2026", "today"),
        ("decimal", "-1.5", "1e5"),
        ("double", "1e5", "x"),
        ("float", ".5", ""),
        ("guid", "{0f8fad5b-d9cb-469f-a165-70867728950e}", "0f8fad5b"),
        ("guid", "0f8fad5bd9cb469fa16570867728950e", "0f8fad5bd9cb469fa16570867728950x"),
        ("alpha", "aZ", "é"),
        ("minlength(2)", "ab", "a"),
        ("maxlength(2)", "ab", "abc"),
        ("length(2)", "ab", "abc"),
        ("length(2,3)", "abc", "a"),
        ("min(2)", "2", "1"),
        ("max(2)", "-5", "3"),
        ("range(1,2)", "1", "0"),
        ("file", "a.b", "ab"),
        ("nonfile", "ab", "a.b"),
        ("required", "a", None),
    ],
)
def test_a_constraint_allows_and_refuses(
    constraint: str, allowed: str, refused: str | None
) -> None:
    template = parse_template(f"{{value:{constraint}}}")

    assert template.match(allowed) == {"value": allowed}
    assert refused is None or template.match(refused) is None


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a//b", "cannot appear consecutively"),
        ("{a", "never closed"),
        ("a}b", "no opening"),
        ("{a}/{A}", "appears more than once"),
        ("{*a}/b", "must be the whole last segment"),
        ("x{*a}", "must be the whole last segment"),
        ("{}", "is not a route parameter"),
        ("{a?=b}", "is not a route parameter"),
        ("{a=b?}", "cannot be optional and have a default"),
        ("{a}{b}", "two parameters must be separated"),
        ("{a:magic}", "the constraint 'magic' is not known"),
        ("{a:min(x)}", "the constraint 'min(x)' is not known"),
        ("{a:int(3)}", "the constraint 'int(3)' is not known"),
        ("{a:regex(()}", "not a regular expression"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(template: str, words: str) -> None:
    with pytest.raises(FunctionError) as raised:
        parse_template(template)
    assert words in str(raised.value)
    assert f"'{template}'" in str(raised.value)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{name}.{ext}", "." * 100_000 + "/x"),
        ("{a}x{b}y{c}z", "xy" * 100_000),
        ("{n:decimal}", "1" * 200_000 + "x"),
        ("{n:double}", "1" * 200_000 + "x"),
    ],
)
def test_no_path_makes_the_search_for_its_values_long(template: str, path: str) -> None:
    # Where there was more than one way to try, none of these would end.
    assert parse_template(template).match(path) is None


def test_an_escaped_slash_stays_inside_its_segment() -> None:
    assert decode_path(b"/a%2Fb/c%20d%2fe/%C3%A9") == "a%2Fb/c d%2Fe/é"


def answering(*routes: tuple[str, str, str]) -> str:
    """Functions by name, route and methods; each answers its own name."""
    return "".join(
        f'\n@app.route(route="{route}", methods={methods})\ndef {name}(req):\n    return "{name}"\n'
        for name, route, methods in routes
    )


async def test_the_more_specific_route_answers_and_a_warning_tells_the_difference(
    load: Load,
) -> None:
    host = load(
        answering(
            ("a_rest", "{*rest}", "None"),
            ("b_any", "items/{id}", "None"),
            ("c_int", "items/{id:int}", "None"),
            ("d_new", "items/new", "None"),
        )
    )
    paths = ["/api/items/new", "/api/items/5", "/api/items/x", "/api/items/x/y", "/api/"]
    answers = [(await call(host, "GET", path)).text for path in paths]

    assert answers == ["d_new", "c_int", "b_any", "a_rest", "a_rest"]
    assert [warning.split("'")[1::2][1:4:2] for warning in host.warnings] == [
        ["b_any", "a_rest"],
        ["c_int", "a_rest"],
        ["d_new", "a_rest"],
        ["c_int", "b_any"],
        ["d_new", "b_any"],
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("a", "items/new", "None"), ("b", "items/{id}", "None")),
        (("a", "items/{id}", "None"), ("b", "items/{name}", "None")),
        (("a", "items/{id}", '["GET"]'), ("b", "items/new", '["POST"]')),
    ],
)
async def test_routes_that_azure_would_ask_in_the_same_order_give_no_warning(
    load: Load, first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    assert load(answering(first, second)).warnings == ()


async def test_a_method_mismatch_goes_on_to_the_next_route(load: Load) -> None:
    host = load(answering(("a", "items/new", '["POST"]'), ("b", "items/{id}", '["GET"]')))

    assert (await call(host, "GET", "/api/items/new")).text == "b"
    assert (await call(host, "POST", "/api/items/new")).text == "a"
    assert (await call(host, "PUT", "/api/items/new")).status == 404


async def test_one_route_can_be_shared_by_methods_and_not_twice_by_the_same(load: Load) -> None:
    host = load(
        answering(
            ("a", "items", '["GET"]'), ("b", "Items", '["POST"]'), ("c", "/items/", '["GET"]')
        )
    )
    assert (await call(host, "POST", "/api/items")).text == "b"
    assert host.refused[0].name == "c"
    assert "conflicts with the route defined by function 'a'" in host.refused[0].reason


async def test_the_hosts_own_addresses_cannot_be_routes(load: Load) -> None:
    host = load(answering(("a", "admin/x", "None"), ("b", "Runtime", "None")))

    assert [refusal.name for refusal in host.refused] == ["a", "b"]
    assert "conflicts with one or more built in routes" in host.refused[0].reason


async def test_the_route_prefix_is_configurable(load: Load) -> None:
    host = load(
        answering(("a", "/items/", "None")),
        {"AzureFunctionsJobHost__extensions__http__routePrefix": "v1/x"},
    )
    assert (await call(host, "GET", "/v1/x/items")).text == "a"
    assert (await call(host, "GET", "/api/items")).status == 404
