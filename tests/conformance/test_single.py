"""One Redis, reached by other ways than its own port: through sentinels, and by TLS."""

import asyncio
import datetime
import ipaddress
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conformance.backplanes import redis_backplane
from tests.conformance.conftest import Connect, opened
from tests.conformance.redisserver import RedisServer, free_port, redis_server, wait_until

from hubbub.errors import ConfigError


async def test_the_primary_is_found_by_sentinels_and_again_when_it_is_another(
    tmp_path: Path, nodes: AsyncExitStack
) -> None:
    with ExitStack() as servers:
        one = servers.enter_context(redis_server(tmp_path / "one"))
        follows = ("--replicaof", f"127.0.0.1 {one.port}")
        two = servers.enter_context(redis_server(tmp_path / "two", *follows))
        config = tmp_path / "sentinel.conf"
        config.write_text(f"sentinel monitor main 127.0.0.1 {one.port} 1\n")
        options = (str(config), "--sentinel")
        sentinel = servers.enter_context(redis_server(tmp_path / "sentinel", *options))
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main"
        node = await opened(redis_backplane(url, "test"), nodes)
        await node.backplane.listen("x")
        assert one.ask("PUBLISH", "test:x", "from one") == 1

        # What a sentinel does when it replaces a primary, in an order that it may happen in.
        sentinel.ask("SENTINEL", "REMOVE", "main")
        sentinel.ask("SENTINEL", "MONITOR", "main", "127.0.0.1", two.port, 1)
        for kind in ("normal", "pubsub"):
            one.ask("CLIENT", "KILL", "TYPE", kind)
        await node.until(lambda: node.states == [False])
        await asyncio.to_thread(wait_until, lambda: greetings(two) >= 2)
        assert node.states == [False]  # it has found a replica, and stays away from it
        two.ask("REPLICAOF", "NO", "ONE")
        await node.until(lambda: node.states == [False, True])

        assert two.ask("PUBLISH", "test:x", "from two") == 1
        assert await node.backplane.publish("x", b"here") == 1
        await node.has(("x", b"from one"), ("x", b"from two"), ("x", b"here"))
        await nodes.aclose()


def greetings(server: RedisServer) -> int:
    """How often somebody has connected in the way that a node does."""
    text: str = server.ask("INFO", "commandstats").decode()
    return int(text.partition("cmdstat_hello:calls=")[2].partition(",")[0] or 0)


def write_certificate(folder: Path, name: str) -> None:
    """A certificate of its own authority, for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    address = x509.IPAddress(ipaddress.ip_address(name))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.mark.parametrize(
    ("name", "asks_for", "failure"),
    [
        ("127.0.0.1", "?ssl_ca_certs={cert}&ssl_certfile={cert}&ssl_keyfile={key}", None),
        ("127.0.0.1", "", "certificate verify failed"),
        ("127.0.0.2", "?ssl_ca_certs={cert}", "certificate verify failed"),
    ],
)
async def test_tls_is_checked(
    tmp_path: Path, connect: Connect, name: str, asks_for: str, failure: str | None
) -> None:
    write_certificate(tmp_path, name)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options: tuple[str, ...] = ("--tls-cert-file", str(cert), "--tls-key-file", str(key))
    options += (
        "--tls-ca-cert-file",
        str(cert),
        "--tls-auth-clients",
        "yes" if not failure else "no",
    )
    port = free_port()
    with redis_server(tmp_path, "--tls-port", str(port), *options):
        url = f"rediss://127.0.0.1:{port}/1" + asks_for.format(cert=cert, key=key)
        if failure is not None:
            with pytest.raises(ConfigError, match=failure):
                await connect(url)
            return
        redis = await connect(url)
        assert await redis.call(0, b"SET", b"key", b"x" * 1_000_000) == b"OK"
        assert await redis.call(0, b"STRLEN", b"key") == 1_000_000
