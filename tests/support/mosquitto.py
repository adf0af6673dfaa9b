"""A real Mosquitto on loopback, one per test, that can be killed and started again on the same port.

Needs the Debian packages ``mosquitto`` and its dynamic-security plugin. Everything lives in the directory that the
test gives (``tmp_path``); nothing is left behind but files.
"""

import contextlib
import datetime
import getpass
import ipaddress
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tephra.bus.client import BusClient, Endpoint, Session
from tephra.bus.roles import Role

ADMIN = "admin"
PASSWORD = "only-for-tests"
CONTROL = "$CONTROL/dynamic-security/v1"
_PLUGIN = "mosquitto_dynamic_security.so"
_LIMITS = """
set_tcp_nodelay true
max_inflight_messages 1000
max_queued_messages 1000000
"""


class Mosquitto:
    """``with Mosquitto(tmp_path) as broker``: anonymous by default; ``dynsec=True`` denies everything not granted."""

    def __init__(self, directory: Path, *, dynsec: bool = False, tls: bool = False, extra: str = "") -> None:
        self.directory = directory / "mosquitto"
        self.directory.mkdir(parents=True)
        self.port = free_port()
        self.ca_file = self.directory / "ca.crt"
        self.url = f"{'mqtts' if tls else 'mqtt'}://localhost:{self.port}"
        self._tls, self._dynsec = tls, dynsec
        self._process: subprocess.Popen[bytes] | None = None
        (self.directory / "mosquitto.conf").write_text(self._config(extra))

    def _config(self, extra: str) -> str:
        lines = [f"user {getpass.getuser()}", "per_listener_settings false", _LIMITS, extra]
        lines += [f"listener {self.port} 127.0.0.1"]
        if self._tls:
            make_certificates(self.directory)
            lines += [f"certfile {self.directory}/tls.crt", f"keyfile {self.directory}/tls.key"]
        if self._dynsec:
            state = self.directory / "dynsec.json"
            _run("mosquitto_ctrl", "dynsec", "init", str(state), ADMIN, PASSWORD)
            lines += ["allow_anonymous false", f"plugin {plugin()}", f"plugin_opt_config_file {state}"]
        else:
            lines += ["allow_anonymous true"]
        return "\n".join([*lines, ""])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def endpoint(self, username: str | None = None, password: str | None = None) -> Endpoint:
        """How a client reaches this broker."""
        return Endpoint(self.url, username, password, str(self.ca_file) if self._tls else None)

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            command = [program("mosquitto"), "-c", str(self.directory / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 5
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto does not start: {(self.directory / 'log').read_text()}")
            time.sleep(0.01)

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def kill(self) -> None:
        """SIGKILL: whatever was not saved is lost."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """The broker hangs (SIGSTOP): connections stay open and silent."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    async def command(self, *commands: dict[str, Any]) -> None:
        """Run dynamic-security commands as the administrator."""
        async with BusClient(self.endpoint(ADMIN, PASSWORD), Session(client_id="admin-test", clean_start=True)) as bus:
            await bus.publish(CONTROL, orjson.dumps({"commands": list(commands)}))

    async def deny_by_default(self) -> None:
        kinds = ("publishClientSend", "publishClientReceive", "subscribe")
        await self.command(
            {"command": "setDefaultACLAccess", "acls": [{"acltype": kind, "allow": False} for kind in kinds]}
        )

    async def add_client(self, username: str, password: str, role: Role) -> None:
        """A client whose own role holds exactly ``role``."""
        await self.command(
            {"command": "createRole", "rolename": username, "acls": list(_acls(role))},
            {
                "command": "createClient",
                "username": username,
                "password": password,
                "roles": [{"rolename": username, "priority": 1}],
            },
        )


def _acls(role: Role) -> Iterator[dict[str, Any]]:
    for rule in role:
        yield {"acltype": rule.access, "topic": rule.topic, "priority": 0, "allow": True}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise RuntimeError(f"{name} is not installed; install the package mosquitto")
    return found


def plugin() -> Path:
    for base in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for found in sorted(Path(base).glob(f"**/{_PLUGIN}")):
            return found
    raise RuntimeError(f"{_PLUGIN} is not installed; it comes with the package mosquitto")


def _run(name: str, *arguments: str) -> None:
    subprocess.run([program(name), *arguments], check=True, capture_output=True)


def make_certificates(directory: Path, names: Iterable[str] = ("localhost",)) -> None:
    """``ca.crt``, and ``tls.crt`` with ``tls.key`` signed by it, for these names and 127.0.0.1."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    alternatives = [x509.DNSName(name) for name in names] + [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    ca = _certificate(authority, authority_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    server = _certificate(authority, server_key.public_key(), "broker").add_extension(
        x509.SubjectAlternativeName(alternatives), critical=False
    )
    for name, builder in (("ca.crt", ca), ("tls.crt", server)):
        certificate = builder.sign(authority_key, hashes.SHA256())
        (directory / name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "tls.key").write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _certificate(
    issuer: x509.Name, key: ec.EllipticCurvePublicKey, subject: str | None = None
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]) if subject else issuer
    builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(name).public_key(key)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
