"""Where the cluster is and who we are there: kubeconfig files, or the service account inside a pod.

Role: turns files into a `Config` that `tephra.kube.client` uses; no request is made here. Credentials that
age (service account tokens, exec plugins) are `Credentials` callables, asked again when they expire or are
refused. Sources: the kubeconfig reference and client.authentication.k8s.io/v1 (ExecCredential).
"""

import asyncio
import base64
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFE_S = 60.0  # kubelet rewrites projected tokens long before they expire; reading once a minute is enough


class ConfigError(Exception):
    """A kubeconfig that cannot be used: the message names the file, the cause and the next step."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are: a bearer token, a basic `user:password`, or a client certificate with its key (PEM)."""

    token: str | None = None
    basic: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    expires: float = float("inf")  # time.time()


Credentials = Callable[[], Awaitable[Credential]]


@dataclass(frozen=True, slots=True)
class Config:
    """One cluster and one identity. `authority` is PEM; `impersonate` is the user of `--as`."""

    server: str
    credentials: Credentials
    authority: bytes | None = None
    verify: bool = True
    server_name: str | None = None
    proxy: str | None = None
    namespace: str = "default"
    impersonate: str | None = None
    source: str = ""

    def tls(self, credential: Credential) -> ssl.SSLContext | None:
        """The TLS context for `credential`, or None for a plain http server."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.authority:
            context.load_verify_locations(cadata=self.authority.decode())
        else:
            context.load_default_certs()
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if credential.certificate and credential.key:
            _load_pair(context, credential.certificate, credential.key)
        return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a PEM pair; the ssl module reads files only, so it passes through a private one."""
    with tempfile.NamedTemporaryFile(prefix="tephra-", suffix=".pem") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def load(path: str | None = None, context: str | None = None) -> Config:
    """As kubectl looks for it: `path`, $KUBECONFIG, ~/.kube/config, then the pod's service account."""
    named = path or os.environ.get("KUBECONFIG") or ""
    paths = [Path(part) for part in named.split(os.pathsep) if part]
    if not paths:
        home = Path.home() / ".kube" / "config"
        if not home.exists() and in_cluster_available():
            return in_cluster()
        paths = [home]
    return from_kubeconfig(paths, context)


def in_cluster_available() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def in_cluster(root: Path = SERVICE_ACCOUNT) -> Config:
    """The pod's service account; the token is read again every minute."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    return Config(
        server=f"https://{address}:{port}",
        credentials=_token_file(root / "token"),
        authority=(root / "ca.crt").read_bytes(),
        namespace=(root / "namespace").read_text().strip(),
        source=str(root),
    )


def from_kubeconfig(paths: list[Path], context: str | None = None) -> Config:
    """From kubeconfig files, merged as kubectl does: the first file that names a thing wins."""
    merged = _Kubeconfig.read(paths)
    name = context or merged.current
    if not name:
        raise ConfigError(f"{merged.source}: no current-context; next: name one with --context")
    chosen = merged.get("contexts", name)
    cluster = merged.get("clusters", chosen.get("cluster", ""))
    user = merged.get("users", chosen["user"]) if chosen.get("user") else _Entry({}, Path())
    if not cluster.get("server"):
        raise ConfigError(f"{merged.source}: cluster {chosen.get('cluster')!r} has no server")
    return Config(
        server=str(cluster["server"]).rstrip("/"),
        credentials=_user_credentials(user, cluster),
        authority=cluster.content("certificate-authority"),
        verify=not cluster.get("insecure-skip-tls-verify", False),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
        namespace=chosen.get("namespace") or "default",
        source=merged.source,
    )


class _Entry(dict[str, Any]):
    """A cluster, user or context with the folder that its relative paths start from."""

    def __init__(self, values: Mapping[str, Any], folder: Path) -> None:
        super().__init__(values)
        self.folder = folder

    def content(self, key: str) -> bytes | None:
        """The bytes of `<key>-data` (base64), else of the file `<key>`, else None."""
        if data := self.get(f"{key}-data"):
            return base64.b64decode(data)
        if path := self.get(key):
            return Path(self.folder / str(path)).read_bytes()
        return None


@dataclass(slots=True)
class _Kubeconfig:
    source: str
    current: str = ""
    entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, paths: list[Path]) -> "_Kubeconfig":
        self = cls(source=os.pathsep.join(str(path) for path in paths))
        found = [path for path in paths if path.exists()]
        if not found:
            raise ConfigError(f"{self.source}: no such kubeconfig; next: name one with --kubeconfig or $KUBECONFIG")
        for path in found:
            self._merge(_parse(path), path.parent)
        return self

    def _merge(self, document: Mapping[str, Any], folder: Path) -> None:
        self.current = self.current or document.get("current-context") or ""
        for section in ("clusters", "users", "contexts"):
            for item in document.get(section) or ():
                values = item.get(section[:-1]) or {}
                self.entries.setdefault((section, str(item["name"])), _Entry(values, folder))

    def get(self, section: str, name: str) -> _Entry:
        try:
            return self.entries[section, name]
        except KeyError:
            known = ", ".join(sorted(n for s, n in self.entries if s == section)) or "none"
            raise ConfigError(f"{self.source}: no {section[:-1]} named {name!r}; there are: {known}") from None


def _parse(path: Path) -> Mapping[str, Any]:
    import yaml  # here: kubeconfigs are the only YAML of this package, and pods have none

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}; next: mend the file or name another") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: is not a kubeconfig")
    return document


def _user_credentials(user: _Entry, cluster: _Entry) -> Credentials:
    if user.get("exec"):
        return _exec_plugin(user["exec"], user.folder, cluster)
    if user.get("tokenFile"):
        return _token_file(user.folder / user["tokenFile"])
    basic = f"{user['username']}:{user.get('password', '')}" if user.get("username") else None
    fixed = Credential(
        token=user.get("token"),
        basic=basic,
        certificate=user.content("client-certificate"),
        key=user.content("client-key"),
    )

    async def credentials() -> Credential:
        return fixed

    return credentials


def _token_file(path: Path) -> Credentials:
    async def credentials() -> Credential:
        token = await asyncio.to_thread(path.read_text)
        return Credential(token=token.strip(), expires=time.time() + TOKEN_LIFE_S)

    return credentials


def _exec_plugin(spec: Mapping[str, Any], folder: Path, cluster: _Entry) -> Credentials:
    """Credentials from an external command (ExecCredential); run again when they expire."""
    command = str(spec["command"])
    path = str(folder / command) if "/" in command and not command.startswith("/") else command
    extra = {item["name"]: item["value"] for item in spec.get("env") or ()}
    request: dict[str, Any] = {"apiVersion": spec["apiVersion"], "kind": "ExecCredential"}
    request["spec"] = {"interactive": False}
    if spec.get("provideClusterInfo"):
        request["spec"]["cluster"] = dict(cluster)
    environment = {**os.environ, **extra, "KUBERNETES_EXEC_INFO": orjson.dumps(request).decode()}

    async def credentials() -> Credential:
        try:
            process = await asyncio.create_subprocess_exec(
                path,
                *(spec.get("args") or ()),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            hint = spec.get("installHint") or "install it or change the kubeconfig"
            raise ConfigError(f"exec credential plugin {command}: {error}; next: {hint}") from error
        output, _ = await process.communicate()
        if process.returncode:
            raise ConfigError(f"exec credential plugin {command}: exit code {process.returncode}; next: run it by hand")
        return _exec_credential(command, output)

    return credentials


def _exec_credential(command: str, output: bytes) -> Credential:
    try:
        status = orjson.loads(output)["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"exec credential plugin {command}: its output is no ExecCredential ({error})") from error
    expires = float("inf")
    if stamp := status.get("expirationTimestamp"):
        expires = datetime.fromisoformat(stamp).timestamp()
    certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
    return Credential(
        token=status.get("token"),
        certificate=certificate.encode() if certificate else None,
        key=key.encode() if key else None,
        expires=expires,
    )
