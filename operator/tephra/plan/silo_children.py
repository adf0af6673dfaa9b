"""What a vSilo is made of: one pod with the tenant's broker and the controller beside it, and how to reach both.

:mod:`.vsilo` decides; here is only rendering. Files and variables inside the pod are contracts §2.
"""

from collections.abc import Iterable, Iterator

from tephra.api.flavour import FlavourSpec
from tephra.api.vsilo import VSiloSpec
from tephra.plan import children, pods
from tephra.plan.base import Object, ServerCertificate, World, fingerprint
from tephra.plan.children import Manifest, identity_of, password_of
from tephra.plan.network import network_policy

BROKER, CONTROLLER = "broker", "controller"
BUS_DIR, CONTROLLER_DIR = "/etc/tephra/bus", "/etc/tephra/controller"
FILES_DIR, SECRET_DIR, SCRATCH_DIR = "/etc/tephra/broker", "/etc/tephra/secret", "/var/lib/tephra"
HEALTH_PORTS = range(8080, 8100)
"""The controller's health port is the first of these that the broker beside it does not use."""

_BROKER_FILES = {name: name for name in ("tls.crt", "tls.key", "ca.crt", "passwords", "epoch")}
_CONTROLLER_FILES = {"controller-username": "username", "controller-password": "password", "epoch": "epoch"}


def name_of(owner: Object) -> str:
    return f"silo-{owner['metadata']['name']}"


def user_of(identity: str) -> str:
    """Its MQTT user name on the core bus."""
    return f"silo.{identity}"


def credentials_name(owner: Object) -> str:
    """The Secret that the tenant reads."""
    return f"{owner['metadata']['name']}-credentials"


def service(owner: Object, spec: VSiloSpec, flavour: FlavourSpec) -> Manifest:
    ports = {port.name: port.port for port in flavour.broker.ports}
    return children.service(name_of(owner), owner, ports, spec.exposure)


def certificate(owner: Object, hosts: Iterable[str], world: World) -> ServerCertificate:
    """The broker's, for every name of its Service and the ``hosts`` outside."""
    namespace, name = owner["metadata"]["namespace"], name_of(owner)
    local = f"{name}.{namespace}.svc"
    names = (f"{local}.{world.settings.cluster_domain}", local, f"{name}.{namespace}", name, *hosts)
    return world.keys.server_certificate(owner["metadata"]["uid"], dict.fromkeys(names), world.now)


def secrets(owner: Object, epoch: int, cert: ServerCertificate, world: World) -> Iterator[Manifest]:
    """The tenant's credentials; the broker's certificate and users; the controller's way to the core bus.

    The controller gets a new password with every epoch too: that it can log in shows that the broker has the new ones.
    """
    keys, uid, name = world.keys, owner["metadata"]["uid"], name_of(owner)
    tenant, controller = (keys.password(uid, user, epoch) for user in ("tenant", "controller"))
    yield children.secret(credentials_name(owner), owner, {"user": "tenant", "password": tenant, "ca.crt": cert.ca})
    users = {"tenant": tenant, "controller": controller}
    broker = {
        "tls.crt": cert.certificate,
        "tls.key": cert.key,
        "ca.crt": cert.ca,
        "passwords": "".join(f"{user}:{keys.mosquitto_hash(password)}\n" for user, password in users.items()),
        "epoch": str(epoch),
        "controller-username": "controller",
        "controller-password": controller,
    }
    yield children.secret(f"{name}-broker", owner, broker)
    yield children.bus_secret(
        f"{name}-bus",
        owner,
        url=world.settings.bus_url,
        username=user_of(identity_of(owner)),
        password=password_of(owner, world),
        ca=keys.bus_ca,
    )


def policy(owner: Object, flavour: FlavourSpec, world: World) -> Manifest:
    """Tenants reach the broker's ports; the pod reaches the bus."""
    ports = [port.port for port in flavour.broker.ports]
    return network_policy(name_of(owner), owner, ingress=ports, egress=(), settings=world.settings)


def files(owner: Object, flavour: FlavourSpec) -> Manifest:
    return children.config_map(name_of(owner), owner, flavour.broker.files)


def deployment(owner: Object, spec: VSiloSpec, flavour: FlavourSpec) -> Manifest:
    """Broker and controller in one pod; vThings, params and credentials are not in it, so they need no restart."""
    name = name_of(owner)
    volumes = [
        pods.config_volume("files", name),
        pods.secret_volume("secret", f"{name}-broker", _BROKER_FILES),
        pods.secret_volume("controller", f"{name}-broker", _CONTROLLER_FILES),
        pods.secret_volume("bus", f"{name}-bus"),
        pods.scratch_volume(),
    ]
    return pods.deployment(
        name,
        owner,
        containers=[_broker(flavour), _controller(owner, flavour)],
        volumes=volumes,
        placement=spec.placement,
        config=fingerprint({"files": flavour.broker.files}),
    )


def _broker(flavour: FlavourSpec) -> Manifest:
    broker = flavour.broker
    probed = broker.probe.port if broker.probe else broker.ports[0].port
    return pods.container(
        BROKER,
        broker.image,
        environment={},
        mounts={"files": FILES_DIR, "secret": SECRET_DIR, pods.SCRATCH: SCRATCH_DIR},
        resources=broker.resources,
        command=broker.command,
        args=broker.args,
        ports=[{"name": port.name, "containerPort": port.port, "protocol": "TCP"} for port in broker.ports],
        **pods.listening_probes(probed),
    )


def _controller(owner: Object, flavour: FlavourSpec) -> Manifest:
    used = {port.port for port in flavour.broker.ports}
    health = next(port for port in HEALTH_PORTS if port not in used)
    environment = {
        "TEPHRA_IDENTITY": identity_of(owner),
        "TEPHRA_PROTOCOL": flavour.protocol,
        "TEPHRA_DIALECT": flavour.dialect,
        "TEPHRA_BUS_DIR": BUS_DIR,
        "TEPHRA_BROKER_URL": _broker_url(flavour),
        "TEPHRA_BROKER_DIR": CONTROLLER_DIR,
        "TEPHRA_HEALTH_PORT": str(health),
    }
    return pods.container(
        CONTROLLER,
        flavour.controller.image,
        environment=environment,
        mounts={"bus": BUS_DIR, "controller": CONTROLLER_DIR},
        resources=flavour.controller.resources,
        **pods.health_probes(health),
    )


def _broker_url(flavour: FlavourSpec) -> str:
    """MQTT brokers keep a plain listener on the pod's loopback for the controller; others have their first port."""
    if flavour.protocol == "mqtt":
        return "mqtt://127.0.0.1:1883"
    first = flavour.broker.ports[0]
    return f"{first.protocol}://127.0.0.1:{first.port}"
