"""Whom the app lets in, and what it puts into tokens. In a browser: `tests/e2e`."""

import base64
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

HERE = Path(__file__).parent
KEY = "key-of-the-tests-that-is-long-enough"


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> dict[str, func.Function]:
    """The functions of the app by name, loaded afresh."""
    text = f"Endpoint=http://localhost;AccessKey={KEY};Version=1.0;"
    monkeypatch.setenv("AzureSignalRConnectionString", text)
    spec = importlib.util.spec_from_file_location("auth_chat_app", HERE / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # The annotations of the hub are looked up in its module.
    monkeypatch.setitem(sys.modules, "auth_chat_app", module)
    spec.loader.exec_module(module)
    return {function.get_function_name(): function for function in module.app.get_functions()}


def negotiate(functions: dict[str, func.Function], **headers: str) -> func.HttpResponse:
    request = func.HttpRequest(
        "POST",
        "http://localhost:7071/api/negotiate",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=b"",
    )
    answer = functions["negotiate"].get_user_function()(request)
    assert isinstance(answer, func.HttpResponse)
    return answer


def principal(*claims: tuple[str, str]) -> str:
    found = {"auth_typ": "aad", "claims": [{"typ": typ, "val": val} for typ, val in claims]}
    return base64.b64encode(json.dumps(found).encode()).decode()


def claims_of(answer: func.HttpResponse) -> dict[str, Any]:
    part = json.loads(answer.get_body())["accessToken"].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_nobody_gets_a_token_without_having_signed_in(
    functions: dict[str, func.Function],
) -> None:
    assert negotiate(functions).status_code == 401
    assert negotiate(functions, x_ms_client_principal_id="").status_code == 401


def test_the_token_names_who_has_signed_in(functions: dict[str, func.Function]) -> None:
    claims = claims_of(negotiate(functions, x_ms_client_principal_id="ann"))

    assert claims["asrs.s.uid"] == "ann"
    assert "admin" not in claims


@pytest.mark.parametrize(
    ("typ", "val", "is_admin"),
    [
        ("roles", "admin", True),
        ("http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "admin", True),
        ("roles", "reader", False),
        ("name", "admin", False),
    ],
)
def test_the_role_of_an_administrator_becomes_a_claim(
    functions: dict[str, func.Function], typ: str, val: str, is_admin: bool
) -> None:
    answer = negotiate(
        functions,
        x_ms_client_principal_id="ann",
        x_ms_client_principal=principal(("name", "Ann"), (typ, val)),
    )

    assert (claims_of(answer).get("admin") == "true") == is_admin


def test_the_hub_has_a_function_for_each_method(functions: dict[str, func.Function]) -> None:
    assert set(functions) == {
        "AuthChat_announce",
        "AuthChat_on_connected",
        "AuthChat_send_private",
        "index",
        "negotiate",
    }
