"""What a message through the mx listener costs, beside Postfix and nginx; and whether a kill loses one.

    python bench/messages.py [--messages 20000] [--sessions 20] [--workers 1] [--tls]
    python bench/messages.py --kill backend|gate|worker [--messages 2000] [--kills 10] [--seed N] [--tls]

The first: ``smtp-source`` sends messages of 4 KB through tlsgate, Postfix as a before-queue proxy and nginx's mail
proxy, one after the other, to a server that keeps them all; with a connection for each message, and with one for each
session. Every message must be there once, as it was sent but for fields before it. With ``--tls``, STARTTLS and a
client of our own. CPU is that of the proxy's processes; they have the first core, all others the second. nginx judges
nothing and adds no field, and the HTTP server that it asks where to go isn't counted. Needs root, Debian's postfix,
nginx and libnginx-mod-mail.

The second: SIGKILL at random moments, and a start again; exit status 1 where a message is lost (bench/mail/losses.py).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import dns.message
import dns.rcode
import trio

from bench.mail.gate import Ports, store, tlsgate
from bench.mail.losses import ADDED, Plan, Victim, judge, run
from bench.mail.peers import authorizer, nginx, postfix
from bench.mail.servers import Server
from bench.mail.source import DOMAIN, Source, unverified
from bench.mail.store import HOST, kept
from tlsgate.demo.certificate import write_certificate

PORTS = Ports(gate=17025, admin=17090, backend=17026)
AUTH, DNS = 17080, 17053
MINE, THEIRS = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
SIZE = 4096
_LINES = ["https://www.example.org/a is a link, and http://example.com/ is one; so is www.example.net."] + [
    "x" * 70
] * 54
MESSAGE = "\n".join(["From: <a@b.example>", "Subject: benchmark", "", *_LINES, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tls", action="store_true", help="by STARTTLS")
    parser.add_argument("--kill", choices=list(Victim))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tlsgate-bench-") as directory:
        if options.kill:
            plan = Plan(Victim(options.kill), options.messages or 2000, options.kills, options.seed, options.tls)
            print(plan, flush=True)
            losses = trio.run(run, plan, PORTS, Path(directory))
            print(losses)
            sys.exit(not losses.none)
        os.sched_setaffinity(0, {THEIRS})
        Path(directory).chmod(0o755)  # for Postfix's own user
        with _answering():
            _compare(Path(directory), options)


def _compare(directory: Path, options: argparse.Namespace) -> None:
    certificate, key = write_certificate(directory)
    subjects: dict[str, Callable[[Path], Server]] = {
        "tlsgate": lambda at: tlsgate(at, PORTS, options.workers, core=MINE),
        "tlsgate, links asked about": lambda at: tlsgate(at, PORTS, options.workers, DNS, MINE),
        "Postfix, before-queue proxy": lambda at: postfix(at, PORTS, certificate, key, options.sessions, MINE),
        "nginx mail": lambda at: nginx(at, PORTS, certificate, key, AUTH, MINE),
    }
    print(f"{'':48} {'messages':>9} {'messages':>9} {'CPU ms':>8} {'CPU as':>8}")
    print(f"{'':48} {'a second':>9} {'a CPU s':>9} {'each':>8} {'tlsgate':>8}")
    for kind, each in (("a connection each", True), ("a connection a session", False)):
        first = 0.0
        for name, make in subjects.items():
            wall, cpu = _measure(directory / "run", make, options, each)
            first = first or cpu
            title = f"{name}, {kind}"
            if "links" in name and not _NoName.asked:
                raise SystemExit("nobody asked about the links")
            print(f"{title:48} {1 / wall:9.0f} {1 / cpu:9.0f} {cpu * 1e3:8.3f} {cpu / first:8.2f}", flush=True)


def _measure(
    at: Path, make: Callable[[Path], Server], options: argparse.Namespace, connection_each: bool
) -> tuple[float, float]:
    """Seconds a message, and CPU seconds a message; all of them have arrived."""
    count = options.messages or 20000
    at.mkdir(mode=0o755)
    backend, server = store(at / "store", PORTS), make(at / "server")
    load = _by_source if options.tls else _by_smtp_source
    try:
        backend.start()
        server.start()
        before, began = server.cpu, time.monotonic()
        check = load(count, options.sessions, connection_each, at)
        wall, cpu = time.monotonic() - began, server.cpu - before
    finally:
        server.stop()
        backend.stop()
    check()
    shutil.rmtree(at)
    return wall / count, cpu / count


def _by_smtp_source(count: int, sessions: int, connection_each: bool, at: Path) -> Callable[[], None]:
    """Send in clear. Gives what looks whether all is there, and raises SystemExit."""
    (at / "message").write_text(MESSAGE)
    command = ["smtp-source", "-N", "-m", str(count), "-s", str(sessions), "-F", str(at / "message")]
    command += ["-M", f"source.{DOMAIN}", "-f", "a@b.example", "-t", f"u@{DOMAIN}"]
    subprocess.run([*command, *([] if connection_each else ["-d"]), f"{HOST}:{PORTS.gate}"], check=True)
    sent = MESSAGE.replace("\n", "\r\n").encode() + b"\r\n"

    def check() -> None:
        due = {f"{number}u@{DOMAIN}" for number in range(1, count + 1)}
        for each in kept(at / "store"):
            if each.recipient not in due:
                raise SystemExit(f"{each.recipient}: came twice, or never was sent")
            due.remove(each.recipient)
            if not each.text.endswith(sent) or not ADDED.fullmatch(each.text[: -len(sent)]):
                raise SystemExit(f"{each.recipient}: is not what was sent: {each.text[:2000]!r}")
        if due:
            raise SystemExit(f"lost: {sorted(due)[:100]}")

    return check


def _by_source(count: int, sessions: int, connection_each: bool, at: Path) -> Callable[[], None]:
    """As ``_by_smtp_source``, with STARTTLS."""
    each = 1 if connection_each else -(-count // sessions)
    source = Source(PORTS.gate, count, sessions, each, (SIZE, SIZE), unverified(), varied=False)
    trio.run(source.run)

    def check() -> None:
        losses = judge(source.fates, at / "store")
        if not losses.none or losses.stored != count:
            raise SystemExit(str(losses))

    return check


@contextmanager
def _answering() -> Iterator[None]:
    """A name server that knows no name, and nginx's HTTP server."""
    with (
        socketserver.ThreadingUDPServer((HOST, DNS), _NoName) as names,
        ThreadingHTTPServer((HOST, AUTH), authorizer(PORTS.backend)) as auth,
    ):
        for server in (names, auth):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        for server in (names, auth):
            server.shutdown()


class _NoName(socketserver.BaseRequestHandler):
    asked = 0

    def handle(self) -> None:
        _NoName.asked += 1
        data, connection = self.request
        response = dns.message.make_response(dns.message.from_wire(data))
        response.set_rcode(dns.rcode.NXDOMAIN)
        connection.sendto(response.to_wire(), self.client_address)


if __name__ == "__main__":
    main()
