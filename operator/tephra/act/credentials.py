"""Every credential, derived from one master key: equal inputs give equal bytes (no state, no clock, no I/O).

So a plan stays pure though it renders Secrets, a lost Secret is made again as it was, and nothing has to be listed.
Key material is HKDF-SHA256 (RFC 5869) of the master key; ``info`` is the parts, each with its length in front.
A private key is a P-256 scalar from 48 derived bytes (FIPS 186-5 A.2.1, extra random bits), signatures are
deterministic (RFC 6979), serial numbers derived.

Rotation with overlap: time is cut into windows of :data:`ROTATION` seconds, shifted per object so that certificates
do not all change at once. The certificate of a window is valid from one hour before it to two windows after its
end, so the one it replaces stays good for long, and an operator that is away for a while breaks nothing.
Neighbours: :mod:`.keys` reads the master key and the CA; planners see :class:`tephra.plan.base.Keys`.
"""

import base64
import hashlib
import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tephra.plan.base import ServerCertificate

DAY = 86_400
ROTATION = 30 * DAY
"""Seconds for which one server certificate is handed out; it is valid three times as long."""
CA_LIFE = 20 * 365 * DAY
"""Seconds that our own CA is valid from its window's start; windows are half as long, so at least ten years remain."""
EARLY = 3_600
"""Seconds that a certificate is valid before its window, for clocks that lag."""
MASTER_KEY_BYTES = 32
MOSQUITTO_ITERATIONS = 101
"""What mosquitto_passwd and the dynamic-security plugin use; the passwords have 192 bits, so more would add nothing."""

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256's base point (SEC 2, §2.4.2)."""
_COMMON_NAME_MAX = 64


class UnusableCa(ValueError):
    """The CA's certificate or key cannot sign; the message says why."""


class CertificateAuthority:
    """A CA that signs servers: its certificate (and those above it), its key, and what clients are to trust."""

    def __init__(self, certificate: str, key: str, trust: str = "") -> None:
        """PEM texts as in a ``kubernetes.io/tls`` Secret; ``trust`` (``ca.crt``) defaults to ``certificate``."""
        try:
            self.chain = x509.load_pem_x509_certificates(certificate.encode())
            loaded = load_pem_private_key(key.encode(), None)
        except (ValueError, TypeError) as error:
            raise UnusableCa(f"tls.crt and tls.key must be PEM, the key without a passphrase: {error}") from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise UnusableCa(f"the CA's key must be EC or RSA, not {type(loaded).__name__}")
        if loaded.public_key() != self.chain[0].public_key():
            raise UnusableCa("tls.key is not the key of the first certificate in tls.crt")
        self.key = loaded
        self.trust = trust or certificate

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def intermediates(self) -> str:
        """What a server sends after its own certificate: the chain without a self-signed root."""
        return "".join(_pem(c) for c in self.chain if c.issuer != c.subject)


def derive(master: bytes, length: int, *info: str) -> bytes:
    """``length`` bytes that only the master key and exactly these parts give."""
    label = b"".join(len(raw).to_bytes(2, "big") + raw for raw in (part.encode() for part in info))
    return HKDF(hashes.SHA256(), length, salt=b"tephra.dev/v1", info=label).derive(master)


def mosquitto_hash(password: str, salt: bytes) -> str:
    """``$7$iterations$salt$hash``: PBKDF2-SHA512 as mosquitto_passwd (2.0) writes it, base64 in both places."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, MOSQUITTO_ITERATIONS)
    return f"$7${MOSQUITTO_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def certificate_authority(master: bytes, now: float) -> tuple[str, str]:
    """Our own CA as ``(certificate, key)`` in PEM; its key never changes."""
    key = _private_key(master, "ca")
    start = int(now) // (CA_LIFE // 2) * (CA_LIFE // 2)
    name = _name("tephra.dev CA")
    certificate = (
        _builder(master, ("ca", str(start)), name, (start - EARLY, start + CA_LIFE))
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return _pem(certificate), _key_pem(key)


class DerivedKeys:
    """:class:`tephra.plan.base.Keys`: what planners derive credentials with."""

    def __init__(self, master: bytes, ca: CertificateAuthority, *, bus_ca: str | None = None) -> None:
        """``bus_ca``: what the clients of a bus that is not ours are to trust."""
        self._master, self._ca = master, ca
        self._bus_ca = ca.trust if bus_ca is None else bus_ca
        self._certificate = lru_cache(maxsize=1024)(self._sign)

    @property
    def bus_ca(self) -> str:
        return self._bus_ca

    def password(self, uid: str, purpose: str, epoch: int = 0) -> str:
        return base64.urlsafe_b64encode(derive(self._master, 24, "password", uid, purpose, str(epoch))).decode()

    def mosquitto_hash(self, password: str) -> str:
        return mosquitto_hash(password, derive(self._master, 12, "salt", password))

    def server_certificate(self, uid: str, names: Iterable[str], now: float) -> ServerCertificate:
        shift = int.from_bytes(derive(self._master, 4, "shift", uid), "big") % ROTATION
        window = int(now + shift) // ROTATION
        return self._certificate(uid, tuple(names), window * ROTATION - shift)

    def _sign(self, uid: str, names: tuple[str, ...], start: int) -> ServerCertificate:
        parts = (uid, str(start), *names)
        key = _private_key(self._master, "server", *parts)
        signer, issuer = self._ca.key, self._ca.certificate
        certificate = (
            _builder(self._master, parts, _name(names[0]), (start - EARLY, start + 3 * ROTATION))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(_authority(issuer), critical=False)
            .sign(signer, hashes.SHA256(), ecdsa_deterministic=_deterministic(signer))
        )
        chain = _pem(certificate) + self._ca.intermediates
        return ServerCertificate(chain, _key_pem(key), self._ca.trust, start + ROTATION)


def _authority(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The issuer's own subject key identifier where it has one: not every CA computes it as we do."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _deterministic(signer: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bool | None:
    """RSA with PKCS #1 v1.5 is deterministic by itself and refuses the option."""
    return True if isinstance(signer, ec.EllipticCurvePrivateKey) else None


def _private_key(master: bytes, *info: str) -> ec.EllipticCurvePrivateKey:
    scalar = int.from_bytes(derive(master, 48, "key", *info), "big") % (_ORDER - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())


def _builder(
    master: bytes, parts: tuple[str, ...], subject: x509.Name, life: tuple[float, float]
) -> x509.CertificateBuilder:
    serial = int.from_bytes(derive(master, 19, "serial", *parts), "big") | 1  # positive, at most 20 octets
    not_before, not_after = (datetime.fromtimestamp(moment, UTC) for moment in life)
    builder = x509.CertificateBuilder().subject_name(subject).serial_number(serial)
    return builder.not_valid_before(not_before).not_valid_after(not_after)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_MAX])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(**granted: bool) -> x509.KeyUsage:
    uses = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{use: granted.get(use, False) for use in uses})


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
