"""The operator's hands on a real API server: keys made once, steady children cost nothing, foreign edits undone."""

import asyncio
import base64
import getpass
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tephra.act import catalogue, keys
from tephra.act.authorisers.static import ACCESS, Static, parse_acl, parse_passwords, render_acl, render_passwords
from tephra.act.config import Config, read
from tephra.act.credentials import certificate_authority
from tephra.act.perform import WATCHED, Performer
from tephra.bus import topics
from tephra.bus.client import BusClient, Endpoint, NotAuthorized, Session
from tephra.bus.messages import AttachedThing
from tephra.bus.roles import Role, silo_role, thing_visor_role
from tephra.kube.client import Client, Selection
from tephra.kube.config import load
from tephra.kube.errors import NotFound
from tephra.plan.base import Action, Apply, Delete, EventNote, Key
from tephra.reconcile.cache import Cache
from tests.support import worlds
from tests.support.apiserver import ApiServer
from tests.support.mosquitto import free_port, program

Object = dict[str, Any]


class NoBus:
    """These tests are about the cluster."""

    async def publish(self, topic: str, payload: bytes | None, *, retain: bool) -> None: ...
    async def grant(self, identity: str, password: str, role: Role) -> None: ...
    async def forget(self, identity: str) -> None: ...


class Hands:
    """A performer on a real API server, with a count of the requests by verb."""

    def __init__(self, kube: Client, verbs: Counter[str]) -> None:
        self.kube, self.verbs = kube, verbs
        self.restart()

    def restart(self) -> None:
        self.cache = Cache()
        self.performer = Performer(self.kube, NoBus(), self.cache, self.cache.observe)

    async def perform(self, *actions: Action) -> tuple[EventNote, ...]:
        return await self.performer.perform(actions, lambda: None)

    async def watch(self, namespace: str) -> None:
        """What the engine's watches would have brought."""
        for kind in WATCHED:
            for item in (await self.kube.list(kind, Selection(namespace))).items:
                self.cache.observe(item)

    def mutations(self) -> Counter[str]:
        found = Counter({verb: count for verb, count in self.verbs.items() if verb not in {"get", "list"}})
        self.verbs.clear()
        return found


@asynccontextmanager
async def hands(server: ApiServer, *namespaces: str) -> AsyncIterator[Hands]:
    verbs: Counter[str] = Counter()

    def count(verb: str, _kind: str, _code: int, _seconds: float) -> None:
        verbs[verb] += 1

    async with Client(load(str(server.kubeconfig)), observer=count) as kube:
        for name in namespaces:
            await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        verbs.clear()
        yield Hands(kube, verbs)


def children() -> list[Apply]:
    """Everything that planners render: a silo's and a ThingVisor's children."""
    resources = {"requests": {"cpu": "1000m", "memory": "1024Mi"}}
    broker = {
        "image": "broker:1",
        "ports": [{"name": "mqtts", "port": 8883, "protocol": "mqtts"}],
        "files": {"mosquitto.conf": "listener 1883\n"},
        "resources": resources,
    }
    silo = worlds.silo("things/hello/a", exposure="NodePort", placement={"site": "rome"})
    visor = worlds.visor()
    port, egress = {"name": "hook", "port": 8000}, {"cidr": "0.0.0.0/0", "ports": [443]}
    kinds = (worlds.flavour(broker=broker), worlds.visor_type(ports=[port], egress=[egress], resources=resources))
    world = worlds.World(worlds.namespace("tenant"), *kinds, visor, worlds.vthing("hello.a", "hello/a"), silo)
    plans = world.say(worlds.visor_report("a")).plan(silo), world.plan(visor)
    return [action for plan in plans for action in plan.actions if isinstance(action, Apply)]


async def test_steady_children_cost_no_request_that_changes_something(api_server: ApiServer) -> None:
    actions = children()
    kinds = {action.manifest["kind"] for action in actions}
    assert kinds == {"ConfigMap", "Deployment", "NetworkPolicy", "Secret", "Service", "VThing"}
    async with hands(api_server, "tenant", "things") as hand:
        await hand.perform(*actions)
        assert hand.mutations() == {"apply": len(actions)}
        await hand.perform(*actions)
        assert not hand.verbs, "not even a look"
        hand.restart()
        for namespace in ("tenant", "things"):
            await hand.watch(namespace)
        assert not await hand.perform(*actions)
        assert not hand.mutations(), "a restarted operator finds everything as it is"


async def test_foreign_edits_are_undone_and_lost_children_come_back(api_server: ApiServer) -> None:
    actions = children()
    async with hands(api_server, "tenant", "things") as hand:
        await hand.perform(*actions)
        for kind, patch in (("Deployment", {"replicas": 0}), ("Service", {"type": "ClusterIP"})):
            foreign = {"apiVersion": "apps/v1" if kind == "Deployment" else "v1", "kind": kind, "spec": patch}
            foreign["metadata"] = {"name": "silo-home", "namespace": "tenant"}
            await hand.kube.apply(foreign, manager="somebody")
        await hand.kube.delete("Secret", "home-credentials", "tenant")
        hand.restart()
        await hand.watch("tenant")
        await hand.watch("things")
        hand.mutations()
        notes = await hand.perform(*actions)
        assert sorted(note.message.split()[4] for note in notes) == ["Deployment", "Service"]
        assert hand.mutations() == {"apply": 3}
        assert (await hand.kube.get("Service", "silo-home", "tenant"))["spec"]["type"] == "NodePort"
        assert "password" in (await hand.kube.get("Secret", "home-credentials", "tenant"))["data"]
        assert not await hand.perform(*actions)


async def test_deletion_is_of_that_very_object(api_server: ApiServer) -> None:
    (service,) = (
        action
        for action in children()
        if action.manifest["metadata"]["name"] == "silo-home" and action.manifest["kind"] == "Service"
    )
    key = Key.of(service.manifest)
    async with hands(api_server, "tenant") as hand:
        await hand.perform(service)
        await hand.perform(Delete(key, "some-other-uid"))
        live = await hand.kube.get(*(key.kind, key.name, key.namespace))
        await hand.perform(Delete(key, live["metadata"]["uid"]))
        with pytest.raises(NotFound):
            await hand.kube.get(key.kind, key.name, key.namespace)
        await hand.perform(Delete(key, live["metadata"]["uid"]))


def config(namespace: str) -> Config:
    return read({"TEPHRA_NAMESPACE": namespace})


async def test_keys_are_made_once(bare_api_server: ApiServer) -> None:
    async with hands(bare_api_server, "keys-once") as hand:
        both = await asyncio.gather(*(keys.load(hand.kube, config("keys-once")) for _ in range(2)))
        again = await keys.load(hand.kube, config("keys-once"))
        assert len({each.password("uid", "bus") for each in (*both, again)}) == 1
        assert len({each.bus_ca for each in (*both, again)}) == 1
        await hand.kube.delete("Secret", keys.CA, "keys-once")
        assert (await keys.load(hand.kube, config("keys-once"))).bus_ca == again.bus_ca, "derived: the same again"
        secret, renew_at = keys.bus_secret(again, config("keys-once").settings, 1_800_000_000)
        await hand.kube.apply(secret)
        assert renew_at > 1_800_000_000


async def test_the_secret_of_the_bus_comes_back(bare_api_server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "CHECK_S", 0.01)
    async with hands(bare_api_server, "bus-secret") as hand, asyncio.timeout(20):
        derived = await keys.load(hand.kube, config("bus-secret"))
        keeper = asyncio.create_task(keys.keep_bus_secret(hand.kube, derived, config("bus-secret").settings))
        contents = []
        for _ in range(2):
            while (found := await keys.find(hand.kube, "bus-secret", keys.BUS)) is None:
                await asyncio.sleep(0.01)
            contents.append(found["data"])
            await hand.kube.delete("Secret", keys.BUS, "bus-secret")
        keeper.cancel()
        assert contents[0] == contents[1]
        assert contents[0].keys() == {"tls.crt", "tls.key", "ca.crt", "dynsec.json", "bootstrap-password"}


async def test_a_ca_of_ones_own_is_honoured(bare_api_server: ApiServer) -> None:
    certificate, key = certificate_authority(b"another master key of 32 bytes..", 1_800_000_000)
    async with hands(bare_api_server, "own-ca") as hand:
        await hand.kube.create(secret("own-ca", keys.CA, {"tls.crt": certificate, "tls.key": key}))
        loaded = await keys.load(hand.kube, config("own-ca"))
        assert loaded.server_certificate("uid", ("a",), 1_800_000_000).ca == certificate


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        (keys.CA, {"tls.crt": "x"}, "tephra-ca has no key `tls.key`"),
        (keys.CA, {"tls.crt": "x", "tls.key": "y"}, "tephra-ca is no usable CA"),
        (keys.MASTER_KEY, {"key": "short"}, "`key` has 5 bytes, 32 are needed"),
        (keys.MASTER_KEY, {"other": "x"}, "tephra-master-key has no key `key`"),
    ],
)
async def test_unusable_secrets_say_what_to_do(
    bare_api_server: ApiServer, name: str, data: dict[str, str], complaint: str
) -> None:
    namespace = f"bad-{name}-{next(iter(data)).replace('.', '-')}-{len(data)}"
    async with hands(bare_api_server, namespace) as hand:
        await hand.kube.create(secret(namespace, name, data))
        with pytest.raises(keys.UnusableSecret, match=complaint):
            await keys.load(hand.kube, config(namespace))


def secret(namespace: str, name: str, data: dict[str, str]) -> Object:
    meta = {"namespace": namespace, "name": name}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": encoded}


async def test_catalogue_is_applied_and_a_refused_file_does_not_hold_up_the_rest(
    api_server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = "apiVersion: tephra.dev/v1alpha1\nkind: ThingVisorType\nmetadata: {name: listed}\nspec: {image: hello}\n"
    (tmp_path / "good.yaml").write_text(good)
    (tmp_path / "bad.yaml").write_text(good.replace("listed", "refused").replace("image", "imago"))
    async with hands(api_server) as hand:
        await catalogue.apply(hand.kube, tmp_path)
        assert (await hand.kube.get("ThingVisorType", "listed"))["spec"]["image"] == "hello"
        assert "apply ThingVisorType refused" in caplog.text
        (tmp_path / "good.yaml").write_text(good.replace("listed", "newer"))
        with caplog.at_level("INFO"):
            await catalogue.apply(hand.kube, tmp_path)
        assert "ThingVisorType listed is not in the catalogue any more" in caplog.text
        for name in ("listed", "newer"):
            await hand.kube.delete("ThingVisorType", name)


def test_a_catalogue_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text("kind: Pod\nmetadata: {name: x}\n")
    with pytest.raises(catalogue.BadCatalogue, match=r"pod\.yaml: every document must be a named Flavour"):
        catalogue.read(tmp_path)


# --- access written down for an administrator

TV, SILO = "things.weather", "tenant-a.home"
SPACED = AttachedThing(id="things/weather/a b", tv=TV, thing="a b ü", commands=True)
ROLES = {f"tv.{TV}": thing_visor_role(TV), f"silo.{SILO}": silo_role(SILO, [SPACED])}


def test_what_is_written_down_is_read_back() -> None:
    hashes = {name: worlds.keys().mosquitto_hash(name) for name in ROLES}
    assert parse_passwords(render_passwords(hashes)) == hashes
    assert parse_acl(render_acl(ROLES)) == ROLES


async def test_what_is_written_down_works_in_a_real_broker(bare_api_server: ApiServer, tmp_path: Path) -> None:
    async with hands(bare_api_server, "static") as hand:
        await grant_all(hand.kube)
        hand.mutations()
        await grant_all(hand.kube)
        assert not hand.mutations(), "a restarted operator finds it written already"
        files = (await hand.kube.get("Secret", ACCESS, "static"))["data"]
        driver = await opened(hand.kube)
        await driver.forget(f"tv.{TV}")
        assert set(driver.identities) == {f"silo.{SILO}"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(base64.b64decode(content))
    async with broker(tmp_path) as url:
        await check_tenancy(url)


async def opened(kube: Client) -> Static:
    driver = Static(kube, "static", Endpoint("mqtt://unused"), worlds.keys().mosquitto_hash)
    await driver.open(BusClient(Endpoint("mqtt://unused")))
    return driver


async def grant_all(kube: Client) -> None:
    driver = await opened(kube)
    await asyncio.gather(*(driver.grant(name, "p", role) for name, role in ROLES.items()))


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    lines = [f"user {getpass.getuser()}", f"listener {port} 127.0.0.1", "allow_anonymous false"]
    lines += [f"password_file {folder}/passwords", f"acl_file {folder}/acl"]
    (folder / "conf").write_text("\n".join([*lines, ""]))
    process = await asyncio.create_subprocess_exec(program("mosquitto"), "-c", str(folder / "conf"))
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def check_tenancy(url: str) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()
    visor = BusClient(Endpoint(url, f"tv.{TV}", "p"), Session(clean_start=True))
    silo = BusClient(
        Endpoint(url, f"silo.{SILO}", "p"), Session(clean_start=True), on_message=lambda d: got.put_nowait(d.payload)
    )
    async with visor, silo, asyncio.timeout(20):
        await asyncio.gather(visor.connected.wait(), silo.connected.wait())
        await silo.subscribe(topics.data_out_filter(TV, SPACED.thing))
        await visor.publish(topics.data_out(TV, SPACED.thing, "e"), b"granted")
        assert await got.get() == b"granted"
        await silo.publish(topics.data_in(TV, SPACED.thing, SILO), b"{}")
        with pytest.raises(NotAuthorized):
            await silo.publish(topics.silo_out("tenant-b.home"), b"{}")
        with pytest.raises(NotAuthorized):
            await visor.publish(topics.data_out("things.other", "x", "e"), b"{}")
