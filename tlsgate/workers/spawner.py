"""The process that forks workers: it has loaded all, has no threads and no sockets of clients, and does nothing else.

Workers that are forked share its memory and, as they share its TLS contexts, each other's session tickets. It keeps
the privileges that it was started with, so a reload can read keys that only root can; each worker drops them.
It takes one packet at a time and answers it with b"+" and what was asked for, or b"-" and why not.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress

from tlsgate.config import ConfigError
from tlsgate.prepared import Prepared
from tlsgate.renewal import Renewal
from tlsgate.tls.certificate import CertificateFault
from tlsgate.workers import reduced

_LONGEST_ANSWER = 65536
_PATIENCE = 60.0  # a reload may read lists of a million lines
_LOOKING = 10.0  # a look at files, or an answer that should be here by now
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)  # the parent is told, and tells us by closing

# Questions. To fork, the worker's end of its channel is beside it; to reread, beside the answer there is a file.
_REREAD, _FORK, _FORK_NEW, _ADOPT = b"reread", b"fork", b"fork new", b"adopt"
_CHANGED, _RENEW = b"changed", b"renew"  # certificates; the answer to the second is as that to a reread
# They ask file systems, which may hang and answer again; of an order that takes long nobody knows what comes of it.
_MAY_HANG = (_REREAD, _CHANGED, _RENEW)

Work = Callable[[Prepared, socket.socket, int], None]
"""What a worker, the n-th, does with its end of the channel, until it returns; in a process of its own."""


class SpawnFault(Exception):
    """The spawner is gone, or couldn't do it. The text says why."""


class Spawner:
    """The parent's handle on it. Its calls wait for the answer, one after the other: in a thread, once the loop runs.

    ``gone``: it has ended, or doesn't take orders; it is not asked again. One that waits for a file system is asked
    again, and answers once that does.
    """

    def __init__(self, end: socket.socket, pid: int) -> None:
        self.pid = pid
        self.gone = False
        self._socket = end
        self._owed = b""  # the question that it hasn't answered yet
        self._changed_late = False  # what was answered to it when another one was asked
        self._asking = threading.Lock()

    def reread(self) -> Prepared:
        """Load the config again, for ``fork`` with ``new``; without its keys. Raises SpawnFault with what is wrong."""
        return self._load(_REREAD)

    def changed(self) -> bool:
        """Whether it is time to load certificates again; to be asked at each poll. Raises SpawnFault."""
        late, self._changed_late = self._changed_late, False
        return bool(self._ask(_CHANGED)[0]) or late

    def renewed(self) -> Prepared:
        """As ``reread``, but for the config in force: its text isn't read again."""
        return self._load(_RENEW)

    def fork(self, end: socket.socket, *, new: bool) -> int:
        """A worker with this end of its channel, which is closed here; its process id. Raises SpawnFault.

        ``new``: by the config of the last ``reread``, which others have after ``adopt``.
        """
        with end:
            answer, _ = self._ask(_FORK_NEW if new else _FORK, end)
        return int(answer)

    def adopt(self) -> None:
        """The config of the last ``reread`` is in force. Raises SpawnFault."""
        self._ask(_ADOPT)

    def close(self) -> None:
        """Let it end; who waits for an answer waits no more."""
        self.gone = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _load(self, question: bytes) -> Prepared:
        _, file = self._ask(question)
        with os.fdopen(file, "rb") as written:
            return reduced.read(written)

    def _ask(self, question: bytes, beside: socket.socket | None = None) -> tuple[bytes, int]:
        with self._asking:
            if self.gone:
                raise SpawnFault("the spawner is gone")
            answer, descriptors = b"", list[int]()
            try:
                answer, descriptors = self._answer(question, beside)
            except TimeoutError:
                if self._owed not in _MAY_HANG:
                    self.close()
                raise SpawnFault("the spawner doesn't answer; a file system may hang") from None
            except OSError:
                pass
            if not answer:
                self._wait()
                raise SpawnFault("the spawner is gone")
        if not answer.startswith(b"+"):
            raise SpawnFault(answer[1:].decode(errors="replace"))
        return answer[1:], descriptors[0] if descriptors else -1

    def _answer(self, question: bytes, beside: socket.socket | None) -> tuple[bytes, list[int]]:
        """b"" when it has ended. Raises OSError; TimeoutError leaves it owing an answer."""
        if owed := self._owed:
            answer, descriptors = self._hear(_LOOKING)
            if owed == question == _CHANGED:
                return answer, descriptors  # a second look would say that nothing has changed since
            self._changed_late |= owed == _CHANGED and len(answer) > 1
            for each in descriptors:
                os.close(each)
        socket.send_fds(self._socket, [question], [] if beside is None else [beside.fileno()])
        self._owed = question
        return self._hear(_LOOKING if question == _CHANGED else _PATIENCE)

    def _hear(self, patience: float) -> tuple[bytes, list[int]]:
        self._socket.settimeout(patience)
        answer, descriptors, _, _ = socket.recv_fds(self._socket, _LONGEST_ANSWER, 1)
        self._owed = b""
        return answer, descriptors

    def _wait(self) -> None:
        """It has ended, unless we have closed: leave no zombie."""
        if not self.gone:
            self.close()
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


def start_spawner(
    prepared: Prepared, reread: Callable[[], Prepared], work: Work, leave: Callable[[], None] = lambda: None
) -> Spawner:
    """Fork it; there, ``leave`` closes the sockets that the process was given. Raises OSError.

    Only before the process has threads, sockets of its own or a loop.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if pid := os.fork():
        its.close()
        return Spawner(ours, pid)
    ours.close()
    leave()
    _run_and_exit(lambda: _Forking(its, prepared, reread, work).run())
    raise AssertionError("unreachable")


def _run_and_exit(body: Callable[[], None]) -> None:
    """What a forked process does; it never comes back to what its parent was about to do."""
    status = 1
    try:
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        body()
        status = 0
    except BaseException:  # noqa: BLE001 - there is nobody above to see it
        traceback.print_exc()
    finally:
        os._exit(status)


class _Forking:
    """The spawner's own side. ``end``: where it is asked."""

    def __init__(self, end: socket.socket, prepared: Prepared, reread: Callable[[], Prepared], work: Work) -> None:
        self._end = end
        self._now = self._new = prepared
        self._reread = reread
        self._renewal = Renewal(lambda: self._now)
        self._work = work
        self._forked = 0

    def run(self) -> None:
        """Answer until the parent is gone."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # workers that end need nobody to wait for them
        _settle_memory()
        with suppress(ConnectionError):  # the parent has ended before it had its answer
            while question := self._take():
                self._answer(*question)

    def _take(self) -> tuple[bytes, list[int]] | None:
        question, descriptors, _, _ = socket.recv_fds(self._end, 16, 1)
        return (question, descriptors) if question else None

    def _answer(self, question: bytes, descriptors: list[int]) -> None:
        match question:
            case b"reread":
                self._answer_loaded(self._reread)
            case b"renew":
                self._answer_loaded(self._renewal.renewed)
            case b"changed":
                self._end.send(b"+1" if self._renewal.changed() else b"+")
            case b"adopt":
                self._now = self._new
                self._end.send(b"+")
            case _:
                with socket.socket(fileno=descriptors[0]) as beside:
                    self._end.send(self._fork(beside, self._new if question == _FORK_NEW else self._now))

    def _answer_loaded(self, load: Callable[[], Prepared]) -> None:
        try:
            prepared = load()
            with os.fdopen(os.memfd_create("config"), "w+b") as file:
                reduced.write(prepared, file)
                file.seek(0)
                self._new = prepared
                _settle_memory()
                socket.send_fds(self._end, [b"+"], [file.fileno()])
        except ConnectionError:
            raise
        except Exception as fault:  # noqa: BLE001 - the parent logs it, and we go on with what we have
            self._end.send(b"-" + _words(fault).encode(errors="replace")[: _LONGEST_ANSWER - 1])

    def _fork(self, beside: socket.socket, prepared: Prepared) -> bytes:
        self._forked += 1
        try:
            if pid := os.fork():
                return b"+%d" % pid
        except OSError as error:
            return b"-" + (error.strerror or "can't fork").encode()
        self._end.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _run_and_exit(lambda: self._work(prepared, beside, self._forked))
        raise AssertionError("unreachable")


def _settle_memory() -> None:
    """What is here is shared with workers: a collector that marks it would copy it into each."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _words(fault: Exception) -> str:
    return str(fault) if isinstance(fault, ConfigError | CertificateFault) else type(fault).__name__
