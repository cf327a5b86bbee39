"""The one hook through which sessions reach logs and metrics: each fact is told once, here it becomes both."""

from __future__ import annotations

import itertools
import secrets
from time import monotonic, time

from tlsgate.ops.client_report import ClientReport, Habit
from tlsgate.ops.listener_metrics import ListenerMetrics, Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.session_view import LiveSession, short
from tlsgate.tls.accept import TlsFacts

_MOST_WEAK = 10_000
_prefix = secrets.token_hex(2)
_numbers = itertools.count(1)


def renew_ids(process: int) -> None:
    """Number sessions anew, under a prefix of this process's own: for the n-th of those that were forked."""
    global _prefix, _numbers
    _prefix, _numbers = f"{_prefix}{process:x}x", itertools.count(1)


class ListenerTrace:
    """For one listener. ``data_phase``: what its sessions are in behind the login.

    ``clients``: where old ones are noted. ``starttls``: TLS isn't implicit. ``weak``: whose weak hash was told of, also
    by the listeners that share it.
    """

    def __init__(
        self,
        name: str,
        data_phase: Phase,
        metrics: ListenerMetrics,
        log: EventLog,
        clients: ClientReport | None = None,
        starttls: bool = False,
        weak: set[str] | None = None,
    ) -> None:
        self.name = name
        self.data_phase = data_phase
        self.metrics = metrics
        self.log = log
        self._clients = clients
        self._starttls = starttls
        self._weak: set[str] = set() if weak is None else weak

    def refused(self, result: str, client: str, port: int, reason: str) -> None:
        """A connection was refused before its session began."""
        self.metrics.connection(result)
        self.log.emit("refused", client=client, client_port=port, listener=self.name, result=result, reason=reason)

    def accepted(self, client: str, port: int) -> SessionTrace:
        """A session begins."""
        self.metrics.connection("accepted")
        return SessionTrace(self, client, port)

    def first_weak(self, user: str) -> bool:
        """Whether this user's hash is told of for the first time; of so many that nobody reads more."""
        if user in self._weak or len(self._weak) >= _MOST_WEAK:
            return False
        self._weak.add(user)
        return True

    def tried_in_clear(self, user: str | None, client: str) -> None:
        """Somebody tried to log in before TLS."""
        if self._clients is not None:
            self._clients.note(Habit.CLEARTEXT, user, client, self.name)

    def logged_in(self, user: str, client: str, facts: TlsFacts | None) -> None:
        """A login stands."""
        if self._clients is None or facts is None:
            return
        found = {
            Habit.OLD_TLS: facts.version != "TLSv1.3",
            Habit.NO_SNI: not facts.sni,
            Habit.STARTTLS: self._starttls,
        }
        for habit in (habit for habit, is_so in found.items() if is_so):
            self._clients.note(habit, user, client, self.name)

    def shortage(self) -> None:
        """No descriptor was left to accept with."""
        self.metrics.connection("shortage")
        self.log.emit("shortage", "error", listener=self.name)


class SessionTrace:
    """For one session: what is known of it, and the one log line at its end (DESIGN 3.4).

    ``session_id``: what the log calls it, at most 64 letters and digits; backends may be told it too.
    """

    __slots__ = (
        "_app_password", "_backend", "_began", "_client", "_client_name", "_down", "_facts", "_listener", "_mechanism",
        "_phase", "_port", "_screening", "_up", "_user", "session_id",
    )  # fmt: skip

    def __init__(self, listener: ListenerTrace, client: str, port: int) -> None:
        self._listener = listener
        self._client = client
        self._port = port
        self.session_id = f"{_prefix}{next(_numbers):x}"
        self._began = monotonic()
        self._facts: TlsFacts | None = None
        self._mechanism: str | None = None
        self._user: str | None = None
        self._backend: str | None = None
        self._client_name: str | None = None
        self._screening = self._app_password = ""
        self._up = self._down = 0
        self._phase = Phase.HANDSHAKE
        listener.metrics.enter(Phase.HANDSHAKE)

    @property
    def client(self) -> str:
        """Its address, or "unix"."""
        return self._client

    @property
    def listener(self) -> str:
        """The name of its listener."""
        return self._listener.name

    @property
    def user(self) -> str | None:
        """Who has logged in; None before."""
        return self._user

    def octets(self, up: int, down: int) -> tuple[int, int]:
        """Those told of so far, with others that weren't yet."""
        return self._up + up, self._down + down

    def described(self, up: int, down: int) -> LiveSession:
        """What is known of the session while it lives. ``up``, ``down``: all its octets behind the login."""
        facts, began = self._facts, time() - (monotonic() - self._began)
        return LiveSession(
            self.session_id,
            self._listener.name,
            self._client,
            self._port,
            self._phase,
            round(began, 3),
            short(self._user),
            self._mechanism,
            self._backend,
            facts.version if facts else None,
            facts.cipher if facts else None,
            up,
            down,
        )

    def handshaken(self, facts: TlsFacts, seconds: float) -> None:
        """TLS stands."""
        self._facts = facts
        self._listener.metrics.handshake(facts.version, facts.cipher, "ok", seconds)
        self._enter(Phase.LOGIN)

    def handshake_failed(self, reason: str) -> None:
        """TLS didn't come about. ``reason`` goes to the session's log line; the label only says that it failed."""
        del reason
        self._listener.metrics.handshake("none", "none", "failed", monotonic() - self._began)

    def cleartext_auth_refused(self, mechanism: str, user: str | None) -> None:
        """Somebody tried to log in without TLS; a password that was shown is burned."""
        self._listener.metrics.cleartext_auth_refused()
        self._listener.metrics.login(mechanism, "cleartext", None)
        self._listener.tried_in_clear(user, self._client)
        self._emit("cleartext_auth_refused", "warning", user=user, mechanism=mechanism)

    def auth_failed(self, mechanism: str, user: str | None, reason: str) -> None:
        """A login was refused for what the client has shown."""
        self._listener.metrics.login(mechanism, "failed", None)
        self._emit("auth_failed", "warning", user=user, mechanism=mechanism, reason=reason)

    def login_delayed(self, mechanism: str, user: str, seconds: float) -> None:
        """A login waits for what failed before it."""
        self._listener.metrics.login_delayed()
        self._emit("login_delayed", "info", user=user, mechanism=mechanism, seconds=seconds)

    def login_unavailable(self, mechanism: str, user: str, reason: str) -> None:
        """A login couldn't be judged or served: not the client's fault."""
        self._listener.metrics.login(mechanism, "unavailable", None)
        self._emit("login_unavailable", "warning", user=user, mechanism=mechanism, reason=reason)

    def certificate_unreadable(self) -> None:
        """A verified certificate has names that can't be read: the source that judges is told of none."""
        self._emit("certificate_unreadable", "warning")

    def recognized(self, user: str, label: str, weak: str) -> None:
        """A source has found a secret right. ``label``: an app password's; ``weak``: a kind of hash soon guessed."""
        self._app_password = label
        if weak and self._listener.first_weak(user):
            self._emit("weak_hash", "warning", user=user, scheme=weak)

    def logged_in(self, mechanism: str, user: str, backend: str, seconds: float) -> None:
        """The login stands; ``seconds`` since the connection was accepted."""
        self._mechanism, self._user, self._backend = mechanism, user, backend
        self._listener.metrics.login(mechanism, "ok", seconds)
        self._listener.logged_in(user, self._client, self._facts)

    def screened(self, result: str, score: int, found: str, sender: str | None = None) -> None:
        """What was found against the client, or its mail from ``sender``, and what comes of it."""
        fields: dict[str, str | None] = {} if sender is None else {"from": sender}
        self._emit(
            "screened", "info" if result == "pass" else "warning", result=result, score=score, reason=found, **fields
        )

    def recipient_refused(self, sender: str, recipient: str, reason: str) -> None:
        """Mail isn't taken for this recipient: it isn't ours, or might not be."""
        self._listener.metrics.refused_by("relay")
        fields: dict[str, str | None] = {"from": sender, "to": recipient}
        self._emit("recipient_refused", "warning", reason=reason, **fields)

    def client_known(self, name: str | None, found: str) -> None:
        """What the DNS says of the client by the session's end: its confirmed name, and what was ``found`` besides."""
        self._client_name, self._screening = name, found

    def backend_used(self, address: str) -> None:
        """The session's mail goes there, without a login."""
        self._backend = address

    def no_backend(self, reason: str) -> None:
        """A message can't be passed on now."""
        self._emit("no_backend", "warning", reason=reason)

    def relaying(self) -> None:
        """The session's data phase begins."""
        self._enter(self._listener.data_phase)

    def message(self, result: str, sender: str, recipients: int, size: int, said: str) -> None:
        """A message was judged: ``said`` is the reply that its sender got."""
        self._listener.metrics.message(result)
        fields: dict[str, str | int | None] = {"from": sender}
        self._emit(
            "message", "info", result=result, recipients=recipients, size=size, reply=said, user=self._user, **fields
        )

    def quota_refused(self, quota: str, news: bool) -> None:
        """A user is over its quota of "recipients" or "messages". Only ``news`` are logged."""
        self._listener.metrics.refused_by(quota)
        if news:
            self._emit("quota", "warning", user=self._user, quota=quota)

    def sender_refused(self, sender: str, news: bool) -> None:
        """A user may not send from this address. Only ``news`` are logged."""
        self._listener.metrics.refused_by("sender")
        if news:
            fields: dict[str, str | None] = {"from": sender}
            self._emit("sender_refused", "warning", user=self._user, **fields)

    def relayed(self, up: int, down: int) -> None:
        """Octets from the client and to it, behind the login; mail in clear and over TLS are told one by one."""
        self._up += up
        self._down += down
        self._listener.metrics.relayed(up, down)

    def ended(self, result: str, reason: str) -> None:
        """The socket is closed."""
        metrics, facts = self._listener.metrics, self._facts
        seconds = monotonic() - self._began
        found = {"screening": self._screening, "app_password": self._app_password}
        metrics.leave(self._phase)
        metrics.session_ended(seconds)
        self._listener.log.write(
            "session",
            "error" if result == "fault" else "info",
            {
                "session": self.session_id,
                "client": self._client,
                "listener": self._listener.name,
                "client_port": self._port,
                "client_name": self._client_name,
                "tls_version": facts.version if facts else None,
                "cipher": facts.cipher if facts else None,
                "group": facts.group if facts else None,
                "sni": facts.sni if facts else None,
                "mechanism": self._mechanism,
                "user": self._user,
                "backend": self._backend,
                "result": result,
                "reason": reason,
                "bytes_in": self._up,
                "bytes_out": self._down,
                "seconds": round(seconds, 3),
                **{name: text for name, text in found.items() if text},
            },
        )

    def _enter(self, phase: Phase) -> None:
        self._listener.metrics.leave(self._phase)
        self._listener.metrics.enter(phase)
        self._phase = phase

    def _emit(self, event: str, level: str, **fields: str | int | float | None) -> None:
        self._listener.log.emit(
            event, level, session=self.session_id, client=self._client, listener=self._listener.name, **fields
        )
