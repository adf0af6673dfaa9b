"""Derived credentials: equal inputs give equal bytes, and openssl, mosquitto and Python's TLS accept them."""

import base64
import shutil
import ssl
import subprocess
from pathlib import Path
from time import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tephra.act.credentials import (
    CA_LIFE,
    DAY,
    ROTATION,
    CertificateAuthority,
    DerivedKeys,
    UnusableCa,
    certificate_authority,
    derive,
    mosquitto_hash,
)

MASTER = bytes(range(32))
NOW = 1_800_000_000.0
NAMES = ("silo-home.tenant-a.svc.cluster.local", "localhost", "127.0.0.1", "fd00::1")


def keys(master: bytes = MASTER, now: float = NOW) -> DerivedKeys:
    return DerivedKeys(master, CertificateAuthority(*certificate_authority(master, now)))


def test_equal_inputs_give_equal_bytes() -> None:
    one, other = keys(), keys()
    assert certificate_authority(MASTER, NOW) == certificate_authority(MASTER, NOW + DAY)
    assert one.password("uid", "bus") == other.password("uid", "bus")
    assert one.mosquitto_hash("secret") == other.mosquitto_hash("secret")
    assert one.server_certificate("uid", NAMES, NOW) == other.server_certificate("uid", list(NAMES), NOW)


def test_every_input_matters() -> None:
    passwords = {
        keys().password("uid", "bus"),
        keys().password("uid", "bus", 1),
        keys().password("uid", "tenant"),
        keys().password("uid2", "bus"),
        keys(b"x" * 32).password("uid", "bus"),
    }
    assert len(passwords) == 5
    assert all(len(password) == 32 for password in passwords)


def test_parts_cannot_run_into_each_other() -> None:
    assert derive(MASTER, 16, "ab", "c") != derive(MASTER, 16, "a", "bc")


def test_certificate_rotates_with_overlap() -> None:
    first = keys().server_certificate("uid", NAMES, NOW)
    assert keys().server_certificate("uid", NAMES, first.renew_at - 1) == first
    second = keys().server_certificate("uid", NAMES, first.renew_at)
    assert second.certificate != first.certificate
    assert second.key != first.key
    assert second.renew_at == first.renew_at + ROTATION
    old, new = (x509.load_pem_x509_certificate(c.certificate.encode()) for c in (first, second))
    assert (old.not_valid_after_utc - new.not_valid_before_utc).total_seconds() > 2 * ROTATION


def test_certificates_of_many_objects_do_not_change_at_once() -> None:
    renewals = {keys().server_certificate(f"uid-{n}", ("a",), NOW).renew_at // DAY for n in range(40)}
    assert len(renewals) > 10


def test_own_ca_is_made_anew_under_the_same_key() -> None:
    old, new = certificate_authority(MASTER, NOW), certificate_authority(MASTER, NOW + CA_LIFE // 2)
    assert old[0] != new[0]
    assert old[1] == new[1]


def test_openssl_verifies_the_chain(tmp_path: Path) -> None:
    made = keys().server_certificate("uid", NAMES, NOW)
    (tmp_path / "ca.pem").write_text(made.ca)
    (tmp_path / "tls.pem").write_text(made.certificate)
    for check in (("-verify_hostname", NAMES[0]), ("-verify_ip", "127.0.0.1"), ("-verify_ip", "fd00::1")):
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", str(int(NOW))]
        run = subprocess.run(
            [*command, "-CAfile", "ca.pem", *check, "tls.pem"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
    wrong = [*command, "-CAfile", "ca.pem", "-verify_hostname", "other", "tls.pem"]
    assert subprocess.run(wrong, cwd=tmp_path, capture_output=True, check=False).returncode != 0


async def test_tls_handshake(tmp_path: Path) -> None:
    made = keys(now=time()).server_certificate("uid", NAMES, time())
    (tmp_path / "tls.pem").write_text(made.certificate + made.key)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(tmp_path / "tls.pem")
    client_side = ssl.create_default_context(cadata=made.ca)
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    incoming, outgoing = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    client = client_side.wrap_bio(incoming[0], outgoing[0], server_hostname="localhost")
    server = server_side.wrap_bio(incoming[1], outgoing[1], server_side=True)
    for _ in range(4):
        for peer, source, sink in ((client, outgoing[1], incoming[0]), (server, outgoing[0], incoming[1])):
            sink.write(source.read())
            try:
                peer.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.getpeercert()["subject"] == ((("commonName", NAMES[0]),),)  # type: ignore[index]


def test_users_own_rsa_ca_with_intermediate_is_honoured(tmp_path: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=R"
    )
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "i.csr", "-subj", "/CN=I")
    (tmp_path / "ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    openssl(
        *("x509", "-req", "-in", "i.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"),
        *("-extfile", "ext", "-out", "tls.crt"),
    )
    crt, key, root = ((tmp_path / name).read_text() for name in ("tls.crt", "tls.key", "root.pem"))
    theirs = DerivedKeys(MASTER, CertificateAuthority(crt, key, root))
    made = theirs.server_certificate("uid", ("localhost",), time())
    assert made == theirs.server_certificate("uid", ("localhost",), time())
    assert made.ca == root
    (tmp_path / "leaf.pem").write_text(made.certificate)
    openssl("verify", "-CAfile", "root.pem", "-untrusted", "leaf.pem", "leaf.pem")


def test_unusable_cas_say_why() -> None:
    certificate, key = certificate_authority(MASTER, NOW)
    with pytest.raises(UnusableCa, match="must be PEM"):
        CertificateAuthority("nonsense", key)
    with pytest.raises(UnusableCa, match="not the key of"):
        CertificateAuthority(certificate, certificate_authority(b"y" * 32, NOW)[1])
    edwards = ed25519.Ed25519PrivateKey.generate()
    pem = edwards.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(UnusableCa, match="must be EC or RSA"):
        CertificateAuthority(certificate, pem)


def test_hash_is_the_one_of_mosquitto_passwd(tmp_path: Path) -> None:
    """mosquitto_passwd draws its own salt, so its hash is made again here with that salt."""
    tool = shutil.which("mosquitto_passwd")
    assert tool, "the Debian package mosquitto is required"
    subprocess.run([tool, "-b", "-c", str(tmp_path / "passwords"), "tenant", "geheim"], check=True, capture_output=True)
    theirs = (tmp_path / "passwords").read_text().strip().removeprefix("tenant:")
    salt = base64.b64decode(theirs.split("$")[3])
    assert mosquitto_hash("geheim", salt) == theirs
