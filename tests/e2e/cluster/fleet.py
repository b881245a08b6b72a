"""Nodes of one service in processes of their own, the Redis that joins them, nginx before them."""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.conformance.redisserver import RedisServer, redis_server
from tests.e2e.cluster.balancer import Balancer
from tests.e2e.interop.service import RunningService

from hubbub.protocol.endpoints import parse_connection_string

__all__ = ["Balanced", "Fleet", "NodeProcess", "fleet"]

QUICK_NODE: Final = (str(Path(__file__).with_name("quick_node.py")),)


class NodeProcess(RunningService):
    """One node, to which bad things can be done. Its port stays its own over restarts."""

    @property
    def pid(self) -> int:
        """Which process it is."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it without any notice."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        process.stdout.close()

    def pause(self) -> None:
        """Let it hang, with all its connections."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class Balanced(RunningService):
    """The service as apps and clients see it: at the balancer's port, all nodes as one."""

    def __init__(self, balancer: Balancer, node: NodeProcess, log: Path) -> None:
        super().__init__(log, (), balancer.port)
        text = f"Endpoint=http://127.0.0.1;Port={balancer.port};Version=1.0;"
        self.endpoint = parse_connection_string(f"{text}AccessKey={node.endpoint.access_key};")


class Fleet:
    """The nodes, their Redis, and what stands before them."""

    def __init__(
        self, redis: RedisServer, nodes: Sequence[NodeProcess], balancer: Balancer
    ) -> None:
        self.redis = redis
        self.nodes = nodes
        self.balancer = balancer
        self.service = Balanced(balancer, nodes[0], nodes[0].log)


@contextlib.contextmanager
def fleet(folder: Path, log: Path, count: int, *arguments: str) -> Iterator[Fleet]:
    """Start `count` nodes with `arguments` of Python for each; `--backplane` is added."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        nodes = []
        for _ in range(count):
            node = NodeProcess(log, (*arguments, "--backplane", redis.url))
            node.start()
            stack.callback(node.end)
            nodes.append(node)
        balancer = Balancer(folder / "nginx", [node.port for node in nodes])
        stack.callback(balancer.close)
        yield Fleet(redis, nodes, balancer)
