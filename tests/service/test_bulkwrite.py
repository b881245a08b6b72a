"""The same bytes to many sockets: by one system call and by many, which must come to the same."""

import ctypes
import errno
import os
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from hubbub.service import iosubmit
from hubbub.service.bulkwrite import SWITCH, bulk_write, write_each
from hubbub.service.iosubmit import MOST, BulkWriter

Write = Callable[["array[int]", bytes], list[int]]


def bulk() -> Write:
    try:
        return BulkWriter().write
    except OSError as error:
        pytest.skip(f"this kernel does not do it: {error}")


@pytest.fixture(params=[bulk, lambda: write_each], ids=["bulk", "each"])
def write(request: pytest.FixtureRequest) -> Write:
    made: Write = request.param()
    return made


class Pairs:
    """Connected sockets: `ours` are written to."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self.ours: list[socket.socket] = []
        self.theirs: list[socket.socket] = []
        for _ in range(count):
            for end, ends in zip(socket.socketpair(), (self.ours, self.theirs), strict=True):
                end.setblocking(False)
                ends.append(stack.enter_context(end))

    @property
    def descriptors(self) -> "array[int]":
        return array("i", [end.fileno() for end in self.ours])

    def fill(self, index: int) -> None:
        self.ours[index].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        try:
            while True:
                self.ours[index].send(b"x" * 1000)
        except BlockingIOError:
            pass


@pytest.fixture
def pairs() -> Iterator[Callable[[int], Pairs]]:
    with ExitStack() as stack:
        yield lambda count: Pairs(stack, count)


@pytest.mark.parametrize("count", [1, 2, MOST])
def test_each_socket_takes_all(write: Write, pairs: Callable[[int], Pairs], count: int) -> None:
    sockets = pairs(count)

    for data in (b"hello", b"a" * 3000):
        assert write(sockets.descriptors, data) == [len(data)] * count
        assert [end.recv(5000) for end in sockets.theirs] == [data] * count


def test_what_a_socket_does_not_take_is_told_and_keeps_nobody_from_the_rest(
    pairs: Callable[[int], Pairs],
) -> None:
    sockets = pairs(5)
    sockets.fill(0)
    sockets.theirs[3].close()
    sockets.ours[4].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    big = b"a" * 100_000

    taken = bulk()(sockets.descriptors, big)

    assert len(taken) == 5
    assert (taken[0], taken[3]) == (0, 0)
    assert 0 < taken[4] < len(big)
    assert sockets.theirs[1].recv(len(big)) == big[: taken[1]]
    assert sockets.theirs[2].recv(len(big)) == big[: taken[2]]


def test_one_by_one_ends_at_the_first_that_takes_nothing(pairs: Callable[[int], Pairs]) -> None:
    sockets = pairs(3)
    sockets.fill(1)

    assert write_each(sockets.descriptors, b"hello") == [5, 0]


def test_a_descriptor_that_is_closed_has_taken_nothing(
    write: Write, pairs: Callable[[int], Pairs]
) -> None:
    sockets = pairs(3)
    descriptors = sockets.descriptors
    sockets.ours[1].close()

    assert write(descriptors, b"hello")[:2] == [5, 0]
    assert write(descriptors[1:], b"hello") == [0]


def test_more_than_the_most_are_left_for_another_call(pairs: Callable[[int], Pairs]) -> None:
    assert bulk()(pairs(MOST + 1).descriptors, b"hello") == [5] * MOST


def refuse(*_: Any) -> int:
    ctypes.set_errno(errno.EPERM)
    return -1


@pytest.mark.parametrize("refused", [0, 1], ids=["io_setup", "io_submit"])
def test_where_the_kernel_refuses_there_is_a_call_for_each(
    monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    real = ctypes.CDLL(None, use_errno=True).syscall
    real.restype = ctypes.c_long
    numbers = iosubmit._NUMBERS.get(os.uname().machine)
    if numbers is None:
        pytest.skip("nothing is known of this machine's calls")
    number_of_refused = numbers[refused]

    class Library:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        @staticmethod
        def syscall(number: Any, *arguments: Any) -> int:
            if number.value == number_of_refused:
                return refuse()
            done: int = real(number, *arguments)
            return done

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert chosen() is write_each


def chosen() -> Write:
    """What a thread that has not asked yet gets."""
    with ThreadPoolExecutor(1) as new_thread:
        return new_thread.submit(bulk_write).result()


def test_an_unknown_machine_has_a_call_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iosubmit, "_NUMBERS", {})
    assert chosen() is write_each


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    assert chosen() is write_each


def test_two_threads_do_not_write_what_is_the_others(pairs: Callable[[int], Pairs]) -> None:
    def write(data: bytes) -> None:
        sockets = pairs(64)
        begin.wait()
        for _ in range(500):
            assert bulk_write()(sockets.descriptors, data) == [len(data)] * 64
            assert {end.recv(100) for end in sockets.theirs} == {data}

    begin = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(write, data) for data in (b"one", b"the other")]:
            done.result()


FORKING = """
import os, socket
from array import array
from hubbub.service.bulkwrite import bulk_write

ours, other = socket.socketpair()
sockets = array("i", [ours.fileno()])
assert bulk_write()(sockets, b"a") == [1]
if os.fork() == 0:
    os._exit(0 if bulk_write()(sockets, b"b") == [1] else 1)
assert os.wait()[1] == 0
assert other.recv(5) == b"ab"
"""


def test_a_copy_of_the_process_has_a_writer_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKING], check=True)
