"""The Secrets of the operator's own namespace: master key, CA, and what the bus of the chart needs to start.

* ``tephra-master-key`` (``key``, 32 random bytes) and ``tephra-ca`` (``tls.crt``, ``tls.key``, ``ca.crt``) are only
  created, never overwritten. A CA of your own (cert-manager's CA Secrets have the same keys) is used when it is there
  first. To replace a CA without an interruption: put the new certificate into ``ca.crt`` beside the old one, restart
  the operator, and give pods (2 minutes) and tenants the time to take the new ``ca.crt``; then put the new certificate
  and key into ``tls.*`` and restart it again; at last remove the old one from ``ca.crt``.
* ``tephra-bus`` is derived from those, so it is applied, and again when its certificate's time has come:
  ``tls.crt``, ``tls.key``, ``ca.crt`` for the broker, ``dynsec.json`` for its very first start, and
  ``bootstrap-password`` for administrators.

Neighbours: :mod:`.credentials` derives; :mod:`.bus` logs in with what stands in ``dynsec.json``.
"""

import asyncio
import base64
import logging
import secrets
import time
from urllib.parse import urlsplit

from tephra.act.authorisers import dynsec
from tephra.act.config import Config
from tephra.act.credentials import (
    MASTER_KEY_BYTES,
    CertificateAuthority,
    DerivedKeys,
    UnusableCa,
    certificate_authority,
)
from tephra.act.perform import holds
from tephra.api import labels
from tephra.kube.client import Client
from tephra.kube.errors import AlreadyExists, ApiError, NotFound
from tephra.kube.resources import Object
from tephra.plan.base import Keys, Settings

log = logging.getLogger(__name__)

MASTER_KEY, CA, BUS = "tephra-master-key", "tephra-ca", "tephra-bus"
CHECK_S = 300.0
"""Seconds between looks at Secret ``tephra-bus``, without which a broker's pod cannot start."""


class UnusableSecret(Exception):
    """A Secret of the operator's namespace does not hold what it must; names it, the cause and the next step."""


async def load(kube: Client, config: Config) -> DerivedKeys:
    """Read master key and CA, making what is not there yet."""
    namespace = config.settings.namespace
    master = _data(await _ensure(kube, namespace, MASTER_KEY, {"key": secrets.token_bytes(MASTER_KEY_BYTES)}), "key")
    if len(master) < MASTER_KEY_BYTES:
        raise UnusableSecret(
            f"Secret {namespace}/{MASTER_KEY}: `key` has {len(master)} bytes, {MASTER_KEY_BYTES} are needed; restore it"
            " from a backup, or delete it: a new one gives everybody new passwords"
        )
    certificate, key = certificate_authority(master, time.time())
    fresh = {"tls.crt": certificate.encode(), "tls.key": key.encode(), "ca.crt": certificate.encode()}
    secret = await _ensure(kube, namespace, CA, fresh, "kubernetes.io/tls")
    return DerivedKeys(master, _authority(secret), bus_ca=_foreign_bus_ca(config))


def bus_secret(keys: Keys, settings: Settings, now: float) -> tuple[Object, float]:
    """Secret ``tephra-bus`` and the time from which it is another one."""
    certificate = keys.server_certificate(BUS, bus_host_names(settings.bus_url), now)
    password = bootstrap_password(keys)
    contents = {
        "tls.crt": certificate.certificate,
        "tls.key": certificate.key,
        "ca.crt": certificate.ca,
        "dynsec.json": dynsec.first_state(keys.mosquitto_hash(password)),
        "bootstrap-password": password,
    }
    data = {name: text.encode() for name, text in contents.items()}
    return _manifest(settings.namespace, BUS, data), certificate.renew_at


async def keep_bus_secret(kube: Client, keys: Keys, settings: Settings) -> None:
    """Make it so, now and whenever it was lost, changed, or its certificate is due; never returns."""
    while True:
        wanted, _ = bus_secret(keys, settings, time.time())
        try:
            if not holds(wanted, await find(kube, settings.namespace, BUS)):
                await kube.apply(wanted)
        except ApiError as error:
            log.warning("Secret %s/%s not kept: %s", settings.namespace, BUS, error)
        await asyncio.sleep(CHECK_S)


async def find(kube: Client, namespace: str, name: str) -> Object | None:
    """The Secret, None if there is none."""
    try:
        return await kube.get("Secret", name, namespace)
    except NotFound:
        return None


def bootstrap_password(keys: Keys) -> str:
    """Password of the bus of the chart's first account, :data:`.authorisers.dynsec.BOOTSTRAP`."""
    return keys.password(BUS, "bootstrap")


def bus_host_names(url: str) -> tuple[str, ...]:
    """All names by which pods may call the Service in ``url``, the longest first, and localhost for port-forwards."""
    host = urlsplit(url).hostname or ""
    parts = host.split(".")
    return (*(".".join(parts[:n]) for n in range(len(parts), 0, -1)), "localhost")


def _authority(secret: Object) -> CertificateAuthority:
    meta = secret["metadata"]
    try:
        trust = _data(secret, "ca.crt") if "ca.crt" in secret.get("data", {}) else b""
        certificate, key = _data(secret, "tls.crt"), _data(secret, "tls.key")
        return CertificateAuthority(certificate.decode(), key.decode(), trust.decode())
    except (UnusableCa, UnicodeDecodeError) as error:
        raise UnusableSecret(
            f"Secret {meta['namespace']}/{meta['name']} is no usable CA: {error}; correct it, or delete it so that the"
            " operator makes one"
        ) from error


def _foreign_bus_ca(config: Config) -> str | None:
    if config.bus_managed:
        return None
    file = config.bus_dir / "ca.crt" if config.bus_dir else None
    return file.read_text() if file and file.exists() else ""


async def _ensure(kube: Client, namespace: str, name: str, fresh: dict[str, bytes], kind: str = "Opaque") -> Object:
    """The Secret as it is, created with ``fresh`` if there is none; whoever creates first wins."""
    if found := await find(kube, namespace, name):
        return found
    log.info("creating Secret %s/%s", namespace, name)
    try:
        return await kube.create(_manifest(namespace, name, fresh, kind))
    except AlreadyExists:
        return await kube.get("Secret", name, namespace)


def _manifest(namespace: str, name: str, data: dict[str, bytes], kind: str = "Opaque") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name, "labels": {labels.MANAGED_BY: labels.TEPHRA}},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _data(secret: Object, key: str) -> bytes:
    meta = secret["metadata"]
    try:
        return base64.b64decode(secret["data"][key])
    except KeyError:
        raise UnusableSecret(
            f"Secret {meta['namespace']}/{meta['name']} has no key `{key}`; add it, or delete the Secret so that the"
            " operator makes a new one"
        ) from None
