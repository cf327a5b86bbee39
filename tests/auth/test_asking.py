"""The files of those who are asked: what is used, what is a fault of the config, and what leaves this process never."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path

import pytest

from tlsgate.auth import asking
from tlsgate.auth.asking import Asking, load_asking
from tlsgate.auth.oauth.client import Client
from tlsgate.config import Auth, AuthSource, OAuth, Url

HTTP, HTTPS = Url("http://127.0.0.1/auth"), Url("https://auth.example.org/")


def with_headers(directory: Path, text: str, mode: int = 0o600) -> Auth:
    path = directory / "headers"
    path.write_text(text)
    path.chmod(mode)
    return Auth(source=(AuthSource.AUTH_HTTP,), auth_http=HTTP, auth_http_header_file=path)


def with_client(directory: Path, secret: str, mode: int = 0o600) -> Auth:
    path = directory / "secret"
    path.write_text(secret)
    path.chmod(mode)
    oauth = OAuth(introspection_url=HTTPS, client_id="gate", client_secret_file=path)
    return Auth(source=(AuthSource.OAUTH,), oauth=oauth)


def loaded(auth: Auth) -> Asking:
    faults: list[str] = []
    found = load_asking(auth, faults)
    assert faults == []
    return found


def faults_of(auth: Auth) -> list[str]:
    faults: list[str] = []
    load_asking(auth, faults)
    return faults


def test_headers_of_a_file(tmp_path: Path) -> None:
    found = loaded(with_headers(tmp_path, "X-Key: hunter2 \r\n\n  Authorization:Bearer a: b\n"))
    assert found.headers == (("X-Key", b"hunter2"), ("Authorization", b"Bearer a: b"))
    assert found.remarks == ()
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "line",
    ["hunter2", "hunter2:", "X Key: hunter2", ": hunter2", "X-Key: hunt\ter2", "X-Key: h\u00fcnter2", "X" * 65 + ": x"],
)
def test_a_line_that_is_no_header_is_told_by_its_number(tmp_path: Path, line: str) -> None:
    """Sent as it is, it could be a request of its own; left out, the server would refuse everybody."""
    (fault,) = faults_of(with_headers(tmp_path, f"X-One: 1\n{line}\n"))
    assert fault.startswith(f"auth.auth_http_header_file: {tmp_path / 'headers'}:2: is no header")
    assert line not in fault


def test_files_that_everybody_can_read_are_told(tmp_path: Path) -> None:
    for auth in (with_headers(tmp_path, "X: y\n", 0o644), with_client(tmp_path, "hunter2\n", 0o644)):
        ((about, text),) = loaded(auth).remarks
        assert Path(about).parent == tmp_path and "chmod 640" in text


def test_who_we_are_to_an_issuer(tmp_path: Path) -> None:
    found = loaded(with_client(tmp_path, "hunter2\n"))
    assert found.client == Client("gate", "hunter2")
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("secret", ["", "\n", "two\nlines", "h\u00fcnter2", "x" * 5000])
def test_a_file_without_a_secret_is_a_fault(tmp_path: Path, secret: str) -> None:
    (fault,) = faults_of(with_client(tmp_path, secret))
    assert fault.startswith(f"auth.oauth.client_secret_file: {tmp_path / 'secret'}: ")
    assert not secret.strip() or secret.strip() not in fault


def test_all_faults_at_once(tmp_path: Path) -> None:
    oauth = OAuth(introspection_url=HTTPS, client_id="gate", client_secret_file=tmp_path / "gone")
    auth = Auth(
        source=(AuthSource.AUTH_HTTP, AuthSource.OAUTH),
        auth_http=HTTP,
        auth_http_header_file=tmp_path / "gone too",
        oauth=oauth,
    )
    headers, secret = faults_of(auth)
    assert headers.startswith(f"auth.auth_http_header_file: {tmp_path / 'gone too'}: ")
    assert secret.startswith(f"auth.oauth.client_secret_file: {tmp_path / 'gone'}: ")


def test_a_file_of_a_source_that_is_not_asked_is_not_read(tmp_path: Path) -> None:
    auth = Auth(source=(AuthSource.OAUTH,), auth_http_header_file=tmp_path / "gone", oauth=OAuth(jwks_url=HTTPS))
    assert loaded(auth).headers == ()


def test_only_https_needs_certificates_and_they_are_looked_at() -> None:
    assert loaded(Auth(source=(AuthSource.AUTH_HTTP,), auth_http=HTTP)).context is None
    context = loaded(Auth(source=(AuthSource.AUTH_HTTP,), auth_http=HTTPS)).context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the first token that comes would end in a fault."""
    monkeypatch.setattr(asking, "find_spec", lambda _: None)
    (fault,) = faults_of(Auth(source=(AuthSource.OAUTH,), oauth=OAuth(jwks_url=HTTPS)))
    assert "tlsgate[oauth]" in fault
    assert faults_of(Auth(source=(AuthSource.OAUTH,), oauth=OAuth(introspection_url=HTTPS))) == []


def test_a_process_that_only_admits_gets_no_secret(tmp_path: Path) -> None:
    """It is the one that strangers' octets reach first."""
    secrets = loaded(with_headers(tmp_path, "X-Key: hunter2\n")), loaded(with_client(tmp_path, "hunter2"))
    for each in secrets:
        carried = pickle.dumps(each)
        assert b"hunter2" not in carried
        assert pickle.loads(carried) == Asking(None, remarks=each.remarks)  # noqa: S301 - our own
