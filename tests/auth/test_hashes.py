"""Every kind of hash that mail servers and web servers write: the right password is right, no other is."""

from __future__ import annotations

import bcrypt
import pytest

from tlsgate.auth.hashes import is_locked, read_hash

# Of "secret": by Dovecot's doveadm pw, by Apache's algorithms as openssl passwd has them, and by passlib.
KNOWN = [
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SSHA}ELWYjVmedFO9peHvGojROSJyZnHCqpkC",
    "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
    "{SSHA256}kivoY9dFiWL+a+e7R1GavKp56tE3mZtt7Q6B/VgD54wW8qZJ",
    "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
    "{SSHA512}QcGW43KPEauJpt9DHTY4CDGFhIMhZUmlzakyYAd4xb25QTm4elEdGqqIDwnb+6dhNy1A0HcAuwfJv847EXW3qfB+sFc=",
    "{SMD5}WHgenyAtiCGfDwIYEouzGFSM21c=",
    "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69",
    "{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
    "{SSHA.HEX}739bcf9947bfd48e6811f6ca0dcb1239e73f3453ad132c9b",
    "{SHA512.B64}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
    "{MD5}$1$pL8NXo1m$hEVnstOvu2S/Zn2N/OSFT0",
    "{MD5-CRYPT}$1$dLuOPipH$UKUN4BjbVNXm0yxAmUB2k.",
    "{DES-CRYPT}vX1iHvQdvZaM.",
    "{SHA256-CRYPT}$5$eu4FUSp/Z1fbsCHm$YKUWtIdIFWEZ/3HtVhroPFTZ4D3yiwtd3wCPKzJYGUC",
    "{SHA512-CRYPT}$6$qOyfWlvfpVCy.L04$erXkSaYGmJxd3WjCLk.gsxYFOuIihvoPYfsqMYVzkuuCcxQHYrqRS2cbbPjQguiJcna8TIQ9s.T1E0oAp7SqT/",
    "{BLF-CRYPT}$2y$05$nPrNNHWlgHXQn2lVDHcFTe.KQGk87c9qj7dTiCereY9WPYjijNvjC",
    "{CRYPT}$2y$05$NFJLsxIc2QSkVjKSURKsNOqvYXfFFTfdDj61IPxDKNLL3wZxeJZT.",
    "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$s063QSzRtNXijg4LOtmlAQ$hQGzFhxsEERN17N2iHwI/8NB4C1EqKBgn99TisGcRws",
    "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$OIT4GUlzr3Egk7cgetiSdg$04o2UpIJgXMuE5n0EEeiq1OT77zJ4d6BeZxzMRyigds",
    "{PBKDF2}$1$H9N0EMBsAsznC6vq$5000$611d5f54e2e33d04f3580a76861f901b30ded900",
    "{SCRAM-SHA-1}4096,TTOR8TTBqXZHJZewt+T+hQ==,ZWttShaDvQLPeuyyyFmiKTytPVk=,LBUT3Rk7YqeZCJ7GV7sx/XK/4+I=",
    "{SCRAM-SHA-256}4096,3OP7lJ0W3hyPwqBoocD8hA==,MZ2J/FzWpPzzhdOpMZ647DupyOLe7/PPg6OgWi+/74s=,fu0JEwkPP0+xuewiH1fS0K8SGqCRM9cfz/VPfA2t6Ps=",
    "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
    "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
    "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.",
    "$sha1$100$NsRVru0o$21lmFIOoKVIu5hmIcjts.NG09Hh3",
    "$pbkdf2$100$YwwhZIxxbo1RijFmrHUO4Q$nQwIgImPXwYEPy9TY6DZx.zX2c0",
    "$pbkdf2-sha256$100$zFnrfe8dIwQgJOS8V6rVeg$VHz7rubBapygQ8AdydU0sdPM50YYh5PX/o/Oc/7ggJI",
    "$pbkdf2-sha512$100$vbd2LgWgdA5BKMXYW4sxJg$DZCn3citg2ca9H5OvoU/K9zoQRsMLupVRIOi1mTAbgP5077IqBC.CM0mt0TfInidgYBOTRmI7NcBTQnP.IZzLg",
    "$scrypt$ln=4,r=8,p=1$4bzXek9JyRnjHMPYGwPAWA$C2orXPZuRvEQ5yzbbBP4c55Bs47d3+UpIseN5hBMI7w",
    "$2a$04$Ut9lU942NX9r1ZrGGu/NQewQUfUQQ.o/uJHWKYM8eQZ4OWM3b/rhS",
    "$2b$04$beUl7PqpCl2J4hLoFX45feFW7nOX8U5Ox.yrhoX/S1HWbtiHh0lha",
    "$argon2id$v=19$m=16,t=1,p=1$TonRmvPeOydk7D3nPMcYIw$/OwdgCiOAUe1szH7f2Ct4LWjzRQSb923sm8IuajT2jo",
    "{sha}5en6G6MezRroT3XKqkdPOmY/BfQ=",  # as any case
    "{SHA}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",  # Dovecot tells hex by its length
    "{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",  # LDAP's
    "i1GAJ3aOYqhLw",  # DES, bare
]


@pytest.mark.parametrize("text", KNOWN)
def test_the_password_and_no_other(text: str) -> None:
    known = read_hash(text)
    assert known.matches(b"secret")
    for wrong in (b"Secret", b"secre", b"", "secret\N{NO-BREAK SPACE}".encode(), b"\xff\xfe", text.encode()):
        assert not known.matches(wrong)
    assert "secret" not in repr(known)
    assert text.rpartition("}")[2] not in repr(known)


@pytest.mark.parametrize("text", [text for text in KNOWN if "DES" not in text and text != "i1GAJ3aOYqhLw"])
def test_a_longer_password_is_another(text: str) -> None:
    """But for DES, which looks at 8 characters."""
    assert not read_hash(text).matches(b"secret and more")


@pytest.mark.parametrize("text", KNOWN)
def test_what_is_left_of_a_hash_that_was_cut_lets_nobody_in(text: str) -> None:
    """A line that was pasted badly is told, or matches nothing."""
    for end in range(len(text) - 2, len(text) // 2, -9):
        try:
            cut = read_hash(text[:end])
        except ValueError:
            continue
        assert not cut.matches(b"secret")


@pytest.mark.parametrize(
    "text", ["", "!", "*", "!!", "!$6$a$b", "*LK*", "{SSHA}", "{SSHA512}!x", "{CRYPT}*", "{PLAIN}"]
)
def test_a_locked_account_is_told_from_a_hash(text: str) -> None:
    assert is_locked(text)
    with pytest.raises(ValueError, match=r"clear|malformed|wrong length|another kind|base64"):
        read_hash(text)


@pytest.mark.parametrize("text", KNOWN)
def test_a_hash_is_not_locked(text: str) -> None:
    assert not is_locked(text)


@pytest.mark.parametrize("scheme", ["PLAIN", "CLEAR", "CLEARTEXT", "cleartext", "PLAIN-TRUNC"])
def test_no_password_in_clear(scheme: str) -> None:
    with pytest.raises(ValueError, match="in clear") as raised:
        read_hash(f"{{{scheme}}}hunter2")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hunter2", "malformed"),
        ("hunter2hunter2", "malformed"),
        ("x", "malformed"),
        ("{hunter2", "malformed"),
        ("$hunter2", "malformed"),
        ("$7$hunter2", "another kind"),
        ("$y$j9T$hunter2$hunter2", "another kind"),
        ("{HUNTER2}x", "not known here"),
        ("{}hunter2", "not known here"),
        ("{SSHA}hunter2", "base64|length"),
        ("{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "wrong length"),  # no salt
        ("{SHA}pj2MfkHyDdc48k9/PvglKMWopuQkiUno", "wrong length"),  # a salt
        ("{SSHA.HEX}hunter2", "hexadecimal"),
        ("{SHA512-CRYPT}$5$abcdefgh$hunter2", "another kind"),
        ("{SHA512-CRYPT}$6$abcdefgh", "malformed"),
        ("{BLF-CRYPT}$1$abcdefgh$hunter2", "another kind"),
        ("$2y$05$hunter2", "malformed"),
        ("$2y$05$H.wRMtbYunLneNcYSRRlfvopL3C1jbtiJ2CpmXF3ZvpOjYhG0Ztqy", "malformed"),  # no such salt
        ("$2y$99$H.wRMtbYunLneNcYSRRlfuopL3C1jbtiJ2CpmXF3ZvpOjYhG0Ztqy", "malformed"),
        ("{ARGON2ID}$argon2i$v=19$m=16,t=1,p=1$a$b", "another kind"),
        ("$argon2id$v=19$m=16,t=1,p=1$TonRmvPeOydk7D3nPMcYIw$/Owdgg", "malformed"),  # any password might match
        ("{DES-CRYPT}$1$abcdefgh$hunter2", "another kind"),
        ("{PBKDF2}$1$salt$0$3239a2b0972504b9df0b922ebbe78230b61a6cc1", "rounds"),
        ("{PBKDF2}$1$salt$999999999$3239a2b0972504b9df0b922ebbe78230b61a6cc1", "rounds"),
        ("{PBKDF2}$1$salt$-1$3239a2b0972504b9df0b922ebbe78230b61a6cc1", "rounds"),
        ("{PBKDF2}$1$salt$5000$hunter2", "it isn't"),
        ("{SCRAM-SHA-256}4096,c2FsdA==,hunter2", "it isn't"),
        ("{SCRAM-SHA-256}4096,c2FsdA==,c2FsdA==,c2FsdA==", "wrong length"),
        ("{CRAM-MD5}hunter2", "can't be checked here"),
        ("{SHA}h\N{LATIN SMALL LETTER U WITH DIAERESIS}nter2", "base64"),
        ("$6$abc$h\N{LATIN SMALL LETTER U WITH DIAERESIS}nter2", "malformed"),
    ],
)
def test_what_is_no_hash_is_told_without_showing_it(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        read_hash(text)
    assert "unter2" not in str(raised.value).lower()


def test_a_password_of_more_octets_than_bcrypt_looks_at() -> None:
    """Dovecot and htpasswd take it; bcrypt's library raises."""
    known = read_hash(bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)).decode())
    assert known.matches(b"a" * 72 + b"more")
    assert not known.matches(b"a" * 71)


def test_a_password_as_long_as_any_client_may_send() -> None:
    """passlib has bounds of its own."""
    for text in ("$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/", "i1GAJ3aOYqhLw", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="):
        assert not read_hash(text).matches(b"\xff" * 4096)
