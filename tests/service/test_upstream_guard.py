"""Which addresses upstream requests may go to."""

import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from hubbub.protocol.upstreamsettings import UpstreamSettings
from hubbub.protocol.upstreamtemplate import Template
from hubbub.protocol.webhooks import Event
from hubbub.service.upstream.delivery import Courier
from hubbub.service.upstream.guard import GuardedResolver, forbidden
from hubbub.service.upstream.outcome import DeliveryError, Kind
from hubbub.service.upstream.web import AppClient


class Names(AbstractResolver):
    """A resolver that knows what a test says."""

    def __init__(self, **names: list[str]) -> None:
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for address in self._names[host]
        ]

    async def close(self) -> None:
        return


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "168.63.129.16",
        "100.100.100.200",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ],
)
def test_some_addresses_are_forbidden_even_if_the_operator_writes_them(address: str) -> None:
    assert forbidden(address, is_literal=True) is not None


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "100.64.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "fd12::1",
        "fec0::1",
        "::ffff:10.0.0.1",
    ],
)
def test_private_addresses_are_for_hosts_that_the_operator_has_written(address: str) -> None:
    assert forbidden(address, is_literal=True) is None
    assert "private" in str(forbidden(address, is_literal=False))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "app.example", "1.2.3"])
def test_public_addresses_and_names_are_fine(address: str) -> None:
    assert forbidden(address, is_literal=False) is None


async def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    resolver = GuardedResolver(
        Names(mixed=["169.254.169.254", "8.8.8.8"], bad=["169.254.169.254"], none=[])
    )

    assert [found["host"] for found in await resolver.resolve("mixed")] == ["8.8.8.8"]
    assert await resolver.resolve("none") == []
    with pytest.raises(DeliveryError, match=r"bad resolves to 169\.254") as caught:
        await resolver.resolve("bad")
    assert caught.value.kind is Kind.FORBIDDEN_ADDRESS


@pytest.mark.parametrize("name", ["2852039166", "0xA9FEA9FE", "0251.0376.0251.0376"])
async def test_an_address_written_as_a_number_is_judged_too(name: str) -> None:
    resolver = GuardedResolver()

    with pytest.raises(DeliveryError, match=r"resolves to 169\.254\.169\.254"):
        await resolver.resolve(name)
    await resolver.close()


async def test_a_name_that_resolves_inside_has_to_be_written_literally() -> None:
    client = AppClient(Names(inside=["127.0.0.1"]))
    event = Event(hub="inside", category="messages", event="e", connection_id="c")
    for url, kind in (
        ("http://inside:1/", Kind.UNREACHABLE),
        ("http://{hub}:1/", Kind.FORBIDDEN_ADDRESS),
    ):
        template = Template(url_template=url)
        courier = Courier(["k"], UpstreamSettings(templates=(template,)), client=client)

        outcome = await courier.deliver(event, template, "application/json", b"{}")

        assert outcome.kind is kind
        await courier.close()


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("inside", Kind.FORBIDDEN_ADDRESS),
        ("127.0.0.1", Kind.FORBIDDEN_ADDRESS),
        ("outside", Kind.UNREACHABLE),
        ("gone", Kind.UNREACHABLE),
    ],
)
async def test_a_client_does_not_reach_the_inside_host_of_one_template_by_another(
    host: str, kind: Kind
) -> None:
    class Outside(Names):
        """Connecting to the public address is not tried."""

        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
            if host == "gone" or (host == "outside" and port):
                raise OSError("No such name")
            return await super().resolve(host, port)

    client = AppClient(Outside(inside=["127.0.0.1"], outside=["8.8.8.8"]))
    own = Template(url_template=f"http://{host}:1/", hub_pattern="other")
    chosen = Template(url_template="http://{event}:1/")
    courier = Courier(["k"], UpstreamSettings(templates=(own, chosen)), client=client)
    event = Event(hub="chat", category="messages", event=host, connection_id="c")

    outcome = await courier.deliver(event, chosen, "application/json", b"{}")

    assert outcome.kind is kind
    assert (await courier.deliver(event, own, "application/json", b"{}")).kind is Kind.UNREACHABLE
    await courier.close()
