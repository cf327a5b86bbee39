"""Header text: what strangers chose can't end a line, a string or a field, nor add a result of its own."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tlsgate.mail.spf import Identity, Result, SpfResult, authentication_results, received_spf

PASS = SpfResult(Result.PASS, "ip4:192.0.2.0/24")
EVIL = 'x"; spf=pass smtp.mailfrom=bank.test\r\nReceived-SPF: pass (\\\x00\u2028)@a.test'
QUOTED = r'"x\"; spf=pass smtp.mailfrom=bank.test??Received-SPF: pass (\\??)@a.test"'


def received(result: SpfResult = PASS, identity: Identity = Identity.MAIL_FROM, **said: str) -> str:
    values = {"mail_from": "ann@a.test", "helo": "h.test"} | said
    return received_spf(result, identity, client=ip_address("::ffff:192.0.2.1"), receiver="gate.test", **values)


def test_received_spf() -> None:
    assert received() == (
        "pass receiver=gate.test;\r\n\tidentity=mailfrom;\r\n\tclient-ip=192.0.2.1;\r\n\t"
        'envelope-from="ann@a.test";\r\n\thelo=h.test;\r\n\tmechanism="ip4:192.0.2.0/24"'
    )


def test_received_spf_of_helo_and_an_error() -> None:
    result = SpfResult(Result.PERMERROR, problem='foo:"bar": no such mechanism')
    assert received(result, Identity.HELO, mail_from="") == (
        "permerror receiver=gate.test;\r\n\tidentity=helo;\r\n\tclient-ip=192.0.2.1;\r\n\thelo=h.test;\r\n\t"
        r'problem="foo:\"bar\": no such mechanism"'
    )


def test_received_spf_of_the_null_reverse_path() -> None:
    assert 'envelope-from="postmaster@h.test"' in received(mail_from="")


def test_received_spf_quotes_what_strangers_say() -> None:
    value = received(mail_from=EVIL, helo=EVIL)
    assert f"envelope-from={QUOTED};" in value
    assert f"helo={QUOTED};" in value
    lines = value.split("\r\n")
    assert all(each.startswith("\t") for each in lines[1:])
    assert all(each.isascii() and each.replace("\t", "").isprintable() for each in lines)


def test_no_line_is_too_long() -> None:
    longest = '"' * 5000
    said = SpfResult(Result.PERMERROR, longest, problem=longest)
    results = authentication_results(said, Identity.MAIL_FROM, mail_from=longest, helo=longest)
    for value in (received(said, mail_from=longest, helo=longest), results):
        assert max(map(len, value.split("\r\n"))) < 900


@pytest.mark.parametrize(
    ("identity", "mail_from", "helo", "part"),
    [
        (Identity.MAIL_FROM, "ann@a.test", "h.test", "smtp.mailfrom=ann@a.test"),
        (Identity.MAIL_FROM, "bounce+1=x@a.test", "h.test", "smtp.mailfrom=bounce+1=x@a.test"),
        (Identity.MAIL_FROM, "", "h.test", "smtp.mailfrom=postmaster@h.test"),
        (Identity.MAIL_FROM, "a;b@a.test", "h.test", 'smtp.mailfrom="a;b@a.test"'),
        (Identity.MAIL_FROM, EVIL, "h.test", f"smtp.mailfrom={QUOTED}"),
        (Identity.HELO, "ann@a.test", "h.test", "smtp.helo=h.test"),
        (Identity.HELO, "ann@a.test", "[192.0.2.1]", 'smtp.helo="[192.0.2.1]"'),
        (Identity.HELO, "ann@a.test", EVIL, f"smtp.helo={QUOTED}"),
    ],
)
def test_authentication_results(identity: Identity, mail_from: str, helo: str, part: str) -> None:
    assert authentication_results(PASS, identity, mail_from=mail_from, helo=helo) == f"spf=pass\r\n\t{part}"


def test_authentication_results_say_the_reason() -> None:
    said = authentication_results(
        SpfResult(Result.TEMPERROR, problem='DNS: "x"'), Identity.HELO, mail_from="", helo="h.test"
    )
    assert said == 'spf=temperror\r\n\treason="DNS: \\"x\\""\r\n\tsmtp.helo=h.test'
