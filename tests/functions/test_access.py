"""Authorisation levels and keys: who may call which function, and where keys are kept."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.functions.apps import call

from hubbub.errors import ConfigError
from hubbub.functions.access import Level, parse_level
from hubbub.functions.function import FunctionError
from hubbub.functions.host import Host, HostOptions
from hubbub.functions.keys import HostKeys, KeyStore, default_folder, new_key
from hubbub.protocol.challenge import SYSTEM_KEY

Load = Callable[..., Host]

APP = """
@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def anybody(req):
    return "ok"

@app.route(auth_level=func.AuthLevel.FUNCTION)
def hello(req):
    return "ok"

@app.route(auth_level=func.AuthLevel.FUNCTION)
def other(req):
    return "ok"

@app.route(auth_level=func.AuthLevel.ADMIN)
def master(req):
    return "ok"

@app.generic_trigger(arg_name="event", type="signalRTrigger", hubName="chat",
    category="messages", event="say")
def listen(event): ...
"""
KEYS = HostKeys("the master", {"default": "for all"}, {"signalr_extension": "for webhooks"})


@pytest.fixture
def guarded(load: Load, tmp_path: Path) -> Host:
    """A host that asks for keys, with keys that a test can know."""
    store = KeyStore(tmp_path / "data")
    store.set_host(KEYS)
    store.set_function("hello", {"default": "for hello"})
    store.set_function("other", {"default": "for other"})
    return load(APP, options=HostOptions(data=tmp_path / "data", checks_keys=True))


@pytest.mark.parametrize(
    ("function", "good"),
    [
        ("anybody", {"", "for all", "for hello", "for other", "the master", "nonsense"}),
        ("hello", {"for all", "for hello", "the master"}),
        ("other", {"for all", "for other", "the master"}),
        ("master", {"the master"}),
    ],
)
@pytest.mark.parametrize(
    "key", ["", "nonsense", "for all", "for hello", "for other", "for webhooks", "the master"]
)
async def test_a_function_asks_for_the_key_of_its_level(
    guarded: Host, function: str, good: set[str], key: str
) -> None:
    by_header = await call(guarded, "GET", f"/api/{function}", headers=[("x-functions-key", key)])
    by_query = await call(guarded, "GET", f"/api/{function}?code={key.replace(' ', '+')}")

    status = 200 if key in good or function == "anybody" else 401
    assert (by_header.status, by_query.status) == (status, status)
    if status == 401:
        assert by_header.body == b""
        assert by_header.header("www-authenticate") is None


async def test_the_header_counts_before_the_query(guarded: Host) -> None:
    url = "/api/hello?code=for+hello"

    assert (await call(guarded, "GET", url, headers=[("x-functions-key", "x")])).status == 401
    assert (await call(guarded, "GET", url, headers=[("x-functions-key", "")])).status == 200
    assert (await call(guarded, "GET", "/api/hello?CODE=for+hello")).status == 200


@pytest.mark.parametrize(
    ("key", "status"),
    [("", 401), ("for all", 401), ("for hello", 401), ("for webhooks", 415), ("the master", 415)],
)
async def test_a_webhook_asks_for_the_system_key(guarded: Host, key: str, status: int) -> None:
    url = f"/runtime/webhooks/signalr?code={key.replace(' ', '+')}"

    answer = await call(guarded, "POST", url)

    assert answer.status == status
    assert answer.header("www-authenticate") == (SYSTEM_KEY if status == 401 else None)


@pytest.mark.parametrize("path", ["host/status", "functions", "functions/hello", "host/keys"])
async def test_the_admin_api_asks_for_the_master_key(guarded: Host, path: str) -> None:
    def get(key: str) -> Any:
        return call(guarded, "GET", f"/admin/{path}", headers=[("x-functions-key", key)])

    assert [(await get(key)).status for key in ("", "for all", "for webhooks")] == [401] * 3
    assert (await get("the master")).status == 200
    assert (await call(guarded, "GET", "/admin/host/ping")).status == 200


async def test_as_a_developer_has_it_nobody_is_asked_for_a_key(load: Load) -> None:
    host = load(APP)

    for path in ("/api/hello", "/api/master", "/admin/host/status"):
        assert (await call(host, "GET", path)).status == 200


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (None, Level.FUNCTION),
        ("Anonymous", Level.ANONYMOUS),
        ("ADMIN", Level.ADMIN),
        (0, Level.ANONYMOUS),
        ("4", Level.ADMIN),
        ("system", Level.SYSTEM),
    ],
)
def test_a_level_is_a_name_or_a_number(value: object, level: Level) -> None:
    assert parse_level(value) is level


@pytest.mark.parametrize("value", ["root", "", 1, True])
def test_another_level_is_refused(value: object) -> None:
    with pytest.raises(FunctionError, match="is not a valid authLevel"):
        parse_level(value)


def test_keys_are_made_once_in_the_shapes_of_the_original(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    made, own = store.host(), store.function("Hello")

    host_file = tmp_path / "secrets" / "host.json"
    document = json.loads(host_file.read_text())
    assert document["masterKey"] == {"name": "master", "value": made.master, "encrypted": False}
    assert document["functionKeys"] == [
        {"name": "default", "value": made.function["default"], "encrypted": False}
    ]
    assert [key["name"] for key in document["systemKeys"]] == ["signalr_extension"]
    assert json.loads((tmp_path / "secrets" / "hello.json").read_text()) == {
        "keys": [{"name": "default", "value": own["default"], "encrypted": False}]
    }
    assert KeyStore(tmp_path).host() == made
    assert KeyStore(tmp_path).function("HELLO") == own
    assert stat.S_IMODE(host_file.stat().st_mode) == 0o600
    assert len({made.master, *made.function.values(), *made.system.values(), *own.values()}) == 4
    assert sorted(path.name for path in host_file.parent.iterdir()) == ["hello.json", "host.json"]


def test_a_system_key_that_was_removed_is_made_again(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    first = store.system("signalr_extension")
    assert store.host().system == {"signalr_extension": first}
    store.set_host(HostKeys("the master"))

    again = store.system("signalr_extension")

    assert again not in {"", first}
    assert KeyStore(tmp_path).system("signalr_extension") == again


def test_a_new_key_has_the_length_and_the_letters_of_the_originals() -> None:
    assert len(new_key()) == 56
    assert new_key().endswith("==")
    assert new_key() != new_key()


def test_keys_that_another_process_has_made_first_count(tmp_path: Path) -> None:
    one, other = KeyStore(tmp_path), KeyStore(tmp_path)
    made = one.host()

    assert other._create("host.json", {"masterKey": {"name": "master", "value": "late"}}) == (
        json.loads((tmp_path / "secrets" / "host.json").read_text())
    )
    assert other.host() == made


async def test_a_key_that_is_changed_in_its_file_counts_at_once(
    guarded: Host, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "secrets" / "hello.json"
    assert (await call(guarded, "GET", "/api/hello?code=for+hello")).status == 200

    path.write_text('{"keys": [{"name": "default", "value": "changed", "encrypted": false}]}')

    assert (await call(guarded, "GET", "/api/hello?code=for+hello")).status == 401
    assert (await call(guarded, "GET", "/api/hello?code=changed")).status == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"masterKey": {"name": "master", "value": "x", "encrypted": true}}', "encrypted keys"),
        ('{"masterKey": {"name": "master", "value": ""}}', "'value' that is not empty"),
        ('{"masterKey": {"name": "master"}}', "'name' and a 'value'"),
        ("{}", "'name' and a 'value'"),
        ("{", "this is not valid JSON"),
    ],
)
def test_a_file_of_keys_that_is_none_is_the_operators_fault(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "host.json").write_text(text)

    with pytest.raises(ConfigError, match=words):
        KeyStore(tmp_path).host()


def test_without_a_data_folder_keys_are_in_the_users_own_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    one, other = default_folder(Path("/apps/one")), default_folder(Path("/elsewhere/one"))

    assert one.parent == tmp_path / "hubbub"
    assert one.name.startswith("one-")
    assert one != other


def test_keys_that_cannot_be_kept_are_the_operators_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="Keys cannot be kept in"):
        KeyStore(tmp_path / "file").host()
