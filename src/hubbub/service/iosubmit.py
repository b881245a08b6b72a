"""One system call that writes the same bytes to many sockets: Linux's `io_submit(2)`.

What Linux calls asynchronous I/O takes many writes at once, and with sockets that do not block each
is over when the call returns. It chooses nothing: `bulkwrite` does.
"""

import ctypes
import errno
import platform
import socket
import weakref
from array import array
from typing import Any, Final

__all__ = ["MOST", "BulkWriter"]

MOST: Final = 128  # sockets of one call, which takes about a millisecond
# The numbers of io_setup, io_submit, io_getevents and io_destroy (asm/unistd_64.h and
# asm-generic/unistd.h).
_NUMBERS: Final = {
    "x86_64": (206, 209, 208, 207),
    "aarch64": (0, 2, 4, 1),
}
_PWRITEV: Final = 8  # IOCB_CMD_PWRITEV: with it, one place says for all what is written


class _Order(ctypes.Structure):
    """`struct iocb` of linux/aio_abi.h, for a little-endian machine."""

    _fields_ = (
        ("data", ctypes.c_uint64),  # comes back with the result
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("descriptor", ctypes.c_int32),
        ("buffers", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("eventfd", ctypes.c_uint32),
    )


class BulkWriter:
    """One context of the kernel's, and the orders that are given to it again and again.

    It is for one thread, and for the process that has made it.
    """

    def __init__(self) -> None:
        """Raises `OSError` where the kernel does not do it."""
        numbers = _NUMBERS.get(platform.machine())
        if platform.system() != "Linux" or numbers is None or ctypes.sizeof(ctypes.c_void_p) != 8:
            raise OSError(errno.ENOSYS, "there is no io_submit here")
        setup, submit, wait, destroy = map(ctypes.c_long, numbers)
        self._system = ctypes.CDLL(None, use_errno=True).syscall
        self._system.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        if self._system(setup, ctypes.c_long(MOST), ctypes.byref(self._context)) != 0:
            raise OSError(ctypes.get_errno(), "io_setup was refused")
        weakref.finalize(self, _call, self._system, destroy, self._context)
        self._submit, self._wait = submit, wait
        self._counts = [ctypes.c_long(count) for count in range(MOST + 1)]
        self._buffer = (ctypes.c_uint64 * 2)()  # struct iovec: where the bytes are, how many
        place = ctypes.addressof(self._buffer)
        self._orders = (_Order * MOST)(
            *(_Order(data=n, opcode=_PWRITEV, buffers=place, count=1) for n in range(MOST))
        )
        size = ctypes.sizeof(_Order)
        begin = ctypes.addressof(self._orders)
        self._list = (ctypes.c_uint64 * MOST)(*range(begin, begin + MOST * size, size))
        self._events = (ctypes.c_int64 * (4 * MOST))()  # struct io_event: data, order, result, 0
        words = memoryview(self._orders).cast("B").cast("i")
        self._descriptors = words[_Order.descriptor.offset // 4 :: size // 4]
        events = memoryview(self._events).cast("B").cast("q")
        self._whose, self._results = events[0::4], events[2::4]
        self._try_out()

    def write(self, sockets: "array[int]", data: bytes) -> list[int]:
        """Write `data` to the sockets, `MOST` at most; return how much each has taken, in order.

        One that is full or broken has taken nothing. The list may end early, behind one of these.
        Raises `OSError` where the kernel does not tell how much they have taken.
        """
        asked = min(len(sockets), MOST)
        self._descriptors[:asked] = memoryview(sockets)[:asked]
        self._buffer[0] = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        self._buffer[1] = len(data)
        done = self._system(self._submit, self._context, self._counts[asked], self._list)
        done = max(done, 0)  # the first that the kernel does not even try ends it
        self._collect(done)
        taken = self._results[:done].tolist()
        if taken.count(len(data)) == asked:
            return taken
        for index, result in zip(self._whose[:done].tolist(), tuple(taken), strict=True):
            taken[index] = max(result, 0)
        return taken if done == asked else [*taken, 0]

    def _collect(self, count: int) -> None:
        """Wait for so many results, which are there already on Linux itself."""
        collected = 0
        while collected < count:
            left = self._counts[count - collected]
            place = ctypes.byref(self._events, 32 * collected)
            number = self._system(self._wait, self._context, left, left, place, None)
            if number < 0 and ctypes.get_errno() != errno.EINTR:
                raise OSError(ctypes.get_errno(), "io_getevents was refused")
            collected += max(number, 0)

    def _try_out(self) -> None:
        """Some let nobody use the call that they have."""
        ours, other = socket.socketpair()
        with ours, other:
            ours.setblocking(False)
            if self.write(array("i", [ours.fileno()]), b"a") != [1] or other.recv(2) != b"a":
                raise OSError(errno.ENOSYS, "io_submit was refused")


def _call(system: Any, number: Any, context: Any) -> None:
    system(number, context)
