"""Identity-based connections: `NAME__serviceUri` and what is beside it, as endpoint and login.

The login is made into a credential of the Azure SDK when the first call needs it. Nothing of it is
logged.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.function import InvocationError
from hubbub.protocol.endpoints import Endpoint, parse_connection_string

Login = tuple[tuple[str, str], ...]  # lower-case names and values, such as ("clientid", "…")

# What the Azure SDK's settings say in `credential`; nothing means what is found.
_MANAGED, _WORKLOAD = "managedidentity", "workloadidentity"
_LOGIN = (
    "credential",
    "clientid",
    "tenantid",
    "clientsecret",
    "clientcertificatepath",
    "managedidentityresourceid",
)


def read_section(section: Mapping[str, str], name: str) -> tuple[Endpoint, str, Login] | None:
    """Endpoint, type and login of the settings below `name`; None where they name no service.

    Raises ConfigError that names the setting which is wrong.
    """
    values = {key.lower(): value for key, value in section.items() if value}
    uri = values.get("serviceuri")
    if uri is None:
        return None
    text = f"Endpoint={uri};AuthType=azure"
    for key in ("clientEndpoint", "serverEndpoint"):
        if key.lower() in values:
            text += f";{key}={values[key.lower()]}"
    try:
        endpoint = parse_connection_string(text)
    except ConfigError as error:
        raise ConfigError(f"The setting '{name}__serviceUri' cannot be used: {error}") from None
    kind = values.get("type", "Primary").capitalize()
    if kind not in {"Primary", "Secondary"}:
        raise ConfigError(
            f"The setting '{name}__type' is '{values['type']}'; write Primary or Secondary."
        )
    login = tuple((key, values[key]) for key in _LOGIN if key in values)
    _check(dict(login), name)
    return endpoint, kind, login


def _check(login: Mapping[str, str], name: str) -> None:
    kind = login.get("credential", "").lower()
    if kind not in {"", _MANAGED, _WORKLOAD}:
        raise ConfigError(
            f"The setting '{name}__credential' is '{login['credential']}'; write managedidentity "
            "or workloadidentity, or leave it out."
        )
    if "clientsecret" in login and not {"clientid", "tenantid"} <= set(login):
        raise ConfigError(
            f"'{name}__clientSecret' needs '{name}__clientId' and '{name}__tenantId' beside it."
        )


def build_credential(login: Login) -> Any:
    """A credential of the Azure SDK. Raises InvocationError where the SDK is not installed."""
    given = dict(login)
    kind = given.pop("credential", "").lower()
    try:
        sdk: Any = importlib.import_module("azure.identity")
    except ImportError:
        raise InvocationError(
            "An identity-based connection needs the Azure SDK: pip install 'hubbub[azure]', or use "
            "a connection string with an AccessKey."
        ) from None
    client, tenant = given.get("clientid"), given.get("tenantid")
    if kind == _MANAGED:
        if resource := given.get("managedidentityresourceid"):
            config = {"resource_id": resource}
            return sdk.ManagedIdentityCredential(identity_config=config)
        return sdk.ManagedIdentityCredential(client_id=client)
    if kind == _WORKLOAD:
        return sdk.WorkloadIdentityCredential(client_id=client, tenant_id=tenant)
    if tenant and client and (secret := given.get("clientsecret")):
        return sdk.ClientSecretCredential(tenant, client, secret)
    if tenant and client and (path := given.get("clientcertificatepath")):
        return sdk.CertificateCredential(tenant, client, path)
    return sdk.DefaultAzureCredential(managed_identity_client_id=client)
