"""The operator on a real bus: roles in force, one leader at a time, and nothing sent that the broker holds already."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from tephra.act.authorisers import BusUnavailable, Fenced, dynsec
from tephra.act.authorisers.dynsec import BOOTSTRAP, CONTROL, Dynsec, first_state
from tephra.act.bus import BusControl, Listener
from tephra.act.credentials import mosquitto_hash
from tephra.bus import topics
from tephra.bus.client import BusClient, Delivery, NotAuthorized, Session
from tephra.bus.messages import AttachedThing, Health, SiloReport, ThingVisorReport
from tephra.bus.roles import Access, Role, Rule, silo_role, thing_visor_role
from tephra.plan.base import Key
from tests.support.mosquitto import Mosquitto

FIRST_PASSWORD = "only-for-tests"
TV, SILO = "things.weather", "tenant-a.home"
ROME = AttachedThing(id="things/weather/rome", tv=TV, thing="rome")
OSLO = AttachedThing(id="things/weather/oslo", tv=TV, thing="oslo")
PATIENCE_S = 10.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """As in the chart: the plugin's very first state is ours."""
    made = Mosquitto(tmp_path, dynsec=True)
    forget_everything(made)
    with made:
        yield made


def forget_everything(broker: Mosquitto) -> None:
    """What an empty volume does."""
    state = first_state(mosquitto_hash(FIRST_PASSWORD, b"salt-of-test"))
    (broker.directory / "dynsec.json").write_text(state)


class Operator:
    """A running :class:`BusControl` and what it told."""

    def __init__(self, broker: Mosquitto, epoch: int = 1) -> None:
        self.reported: asyncio.Queue[Key] = asyncio.Queue()
        self.connected, self.scanned = asyncio.Semaphore(0), asyncio.Semaphore(0)
        first = broker.endpoint(BOOTSTRAP, FIRST_PASSWORD)
        driver = Dynsec(first, lambda number: f"password-{number}")
        listener = Listener(self.reported.put_nowait, self.connected.release, self.scanned.release)
        self.bus = BusControl(driver, listener)
        self.running = asyncio.create_task(self.bus.run(epoch))

    async def joined(self) -> None:
        await asyncio.wait_for(self.connected.acquire(), PATIENCE_S)

    async def next_report(self) -> Key:
        return await asyncio.wait_for(self.reported.get(), PATIENCE_S)

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


@asynccontextmanager
async def operating(broker: Mosquitto, epoch: int = 1) -> AsyncIterator[Operator]:
    operator = Operator(broker, epoch)
    try:
        await operator.joined()
        yield operator
    finally:
        await operator.stop()


class Party:
    """Somebody on the bus, with what arrives there."""

    def __init__(self, bus: BusClient) -> None:
        self.bus, self.received = bus, asyncio.Queue[Delivery]()
        bus.on_message = self.received.put_nowait

    async def next(self) -> Delivery:
        return await asyncio.wait_for(self.received.get(), PATIENCE_S)


@asynccontextmanager
async def party(broker: Mosquitto, identity: str, password: str = "p") -> AsyncIterator[Party]:
    async with BusClient(broker.endpoint(identity, password), Session(clean_start=True, expiry=0)) as bus:
        someone = Party(bus)
        await asyncio.wait_for(bus.connected.wait(), PATIENCE_S)
        yield someone


def reads(*filters: str) -> Role:
    return frozenset(Rule(access, topic) for topic in filters for access in (Access.RECEIVE, Access.SUBSCRIBE))


async def test_everybody_may_what_the_role_says_and_nothing_else(broker: Mosquitto) -> None:
    rome, oslo = topics.data_out(TV, "rome", "e"), topics.data_out(TV, "oslo", "e")
    async with operating(broker) as operator:
        await operator.bus.grant(f"tv.{TV}", "p", thing_visor_role(TV))
        await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, [ROME]))
        assert set(operator.bus.state.identities) == {f"tv.{TV}", f"silo.{SILO}"}
        async with party(broker, f"tv.{TV}") as visor, party(broker, f"silo.{SILO}") as silo:
            await silo.bus.subscribe(topics.data_out_filter(TV, "rome"))
            await visor.bus.publish(oslo, b"private", retain=True)
            await visor.bus.publish(rome, b"12 degrees", retain=True)
            assert (await silo.next()).payload == b"12 degrees"
            await silo.bus.publish(topics.repair(TV, "rome", SILO), b"{}")
            for forbidden in (
                topics.silo_out("tenant-b.home"),
                topics.silo_in(SILO),
                topics.repair(TV, "oslo", SILO),
                topics.repair(TV, "rome", "tenant-b.home"),
                topics.data_in(TV, "rome", SILO),  # commands were not granted
                rome,
                CONTROL,
                "anything",
            ):
                with pytest.raises(NotAuthorized, match="135"):
                    await silo.bus.publish(forbidden, b"{}")
            for forbidden in (
                "#",
                "$SYS/#",
                f"{CONTROL}/response",
                "vSilo/#",
                topics.data_out_filter(TV, "oslo"),
                oslo,
            ):
                with pytest.raises(NotAuthorized, match="135"):
                    await silo.bus.subscribe(forbidden)
            for forbidden in (topics.data_out("things.other", "rome", "e"), topics.tv_in(TV), topics.tv_out("a.b")):
                with pytest.raises(NotAuthorized, match="135"):
                    await visor.bus.publish(forbidden, b"forged", retain=True)


async def test_access_is_widened_and_withdrawn_without_a_disconnect(broker: Mosquitto) -> None:
    rome, oslo = topics.data_out(TV, "rome", "e"), topics.data_out(TV, "oslo", "e")
    async with operating(broker) as operator:
        await operator.bus.grant(f"tv.{TV}", "p", thing_visor_role(TV))
        await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, [ROME]))
        async with party(broker, f"tv.{TV}") as visor, party(broker, f"silo.{SILO}") as silo:
            await silo.bus.subscribe(topics.data_out_filter(TV, "rome"))
            await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, [ROME, OSLO]))
            await silo.bus.subscribe(topics.data_out_filter(TV, "oslo"))
            await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, [OSLO]))
            await visor.bus.publish(rome, b"withdrawn")
            await visor.bus.publish(oslo, b"granted")
            assert (await silo.next()).payload == b"granted", "an old subscription must not outlive its permission"
            assert not silo.bus.last_error, "nobody was disconnected"


async def test_forgotten_identities_are_thrown_out_and_leave_nothing_retained(broker: Mosquitto) -> None:
    entities = [topics.data_out(TV, thing, f"urn:x:{n}") for thing in ("rome", "a/b +#") for n in range(3)]
    async with operating(broker) as operator:
        await operator.bus.grant(f"tv.{TV}", "p", thing_visor_role(TV))
        await operator.bus.publish(topics.tv_in(TV), b"desired", retain=True)
        async with party(broker, f"tv.{TV}") as visor:
            for entity in entities:
                await visor.bus.publish(entity, b"{}", retain=True)
            await visor.bus.publish(
                topics.tv_out(TV), ThingVisorReport(observed_generation=1, epoch=1).encode(), retain=True
            )
            assert await operator.next_report() == Key("ThingVisor", "things", "weather")
            await operator.bus.scan()
            assert {*entities, topics.tv_in(TV), topics.tv_out(TV)} <= set(operator.bus.state.retained)
            thrown_out = asyncio.Event()
            visor.bus.on_failure = lambda error: thrown_out.set()
            await operator.bus.forget(f"tv.{TV}")
            await asyncio.wait_for(thrown_out.wait(), PATIENCE_S)
        await operator.bus.scan()
        state = operator.bus.state
        assert (list(state.retained), list(state.identities), dict(state.thing_visors)) == ([], [], {})


async def test_a_later_leader_shuts_out_the_earlier_one(broker: Mosquitto) -> None:
    async with operating(broker, epoch=3) as old, operating(broker, epoch=4) as new:
        with pytest.raises(Fenced, match="operator-4"):
            await asyncio.wait_for(old.running, PATIENCE_S)
        with pytest.raises(BusUnavailable):
            await old.bus.publish(topics.tv_in(TV), b"stale", retain=True)
        await new.bus.publish(topics.tv_in(TV), b"fresh", retain=True)


async def test_an_earlier_epoch_never_gets_in(broker: Mosquitto) -> None:
    async with operating(broker, epoch=4) as leader:
        late = Operator(broker, epoch=3)
        with pytest.raises(Fenced, match="mosquitto_ctrl dynsec deleteClient operator-4"):
            await asyncio.wait_for(late.running, PATIENCE_S)
        assert leader.bus.connected


async def test_leaders_that_start_at_once_end_up_as_the_latest_one(broker: Mosquitto) -> None:
    operators = [Operator(broker, epoch) for epoch in (5, 6, 7)]
    earlier = [asyncio.wait_for(each.running, PATIENCE_S) for each in operators[:2]]
    assert [type(end) for end in await asyncio.gather(*earlier, return_exceptions=True)] == [Fenced, Fenced]
    await operators[2].joined()
    assert operators[2].bus.connected
    await operators[2].stop()


async def test_what_the_broker_holds_is_not_sent_again(broker: Mosquitto) -> None:
    topic = topics.silo_in(SILO)
    async with operating(broker) as first:
        await first.bus.grant("silo.a.watcher", "p", reads(topic))
        async with party(broker, "silo.a.watcher") as watcher:
            await watcher.bus.subscribe(topic)
            await first.bus.publish(topic, b"one", retain=True)
            await first.bus.publish(topic, b"one", retain=True)
            await first.stop()
            async with operating(broker, epoch=2) as second:  # as after a restart: it looks before it speaks
                await second.bus.grant("silo.a.watcher", "p", reads(topic))
                await second.bus.publish(topic, b"one", retain=True)
                await second.bus.publish(topic, b"two", retain=True)
                await second.bus.publish(topic, None, retain=True)
                await second.bus.publish(topic, None, retain=True)
                await second.bus.publish(topic, b"three", retain=True)
                assert [(await watcher.next()).payload for _ in range(4)] == [b"one", b"two", b"", b"three"]
                assert not watcher.bus.last_error, "the right password was not set again, which would disconnect"


async def test_reports_are_believed_once_and_nonsense_is_not(broker: Mosquitto) -> None:
    report = SiloReport(observed_generation=2, epoch=1, broker_ready=True)
    async with operating(broker) as operator:
        await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, []))
        async with party(broker, f"silo.{SILO}") as silo:
            out = topics.silo_out(SILO)
            await silo.bus.publish(out, report.encode(), retain=True)
            assert await operator.next_report() == Key("VSilo", "tenant-a", "home")
            await silo.bus.publish(out, report.encode(), retain=True)
            await silo.bus.publish(out, b"nonsense", retain=True)
            changed = report.model_copy(update={"broker_message": "full"})
            await silo.bus.publish(out, changed.encode(), retain=True)
            assert await operator.next_report() == Key("VSilo", "tenant-a", "home")
            assert operator.bus.state.silos == {SILO: changed}
            assert operator.reported.empty()
    async with operating(broker, epoch=2) as successor:
        assert successor.bus.state.silos == {SILO: changed}, "known as soon as it is connected"


async def test_a_change_of_password_is_in_force_at_once(broker: Mosquitto) -> None:
    async with operating(broker) as operator:
        await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, []))
        async with party(broker, f"silo.{SILO}") as silo:
            failures = asyncio.Queue[Exception]()
            silo.bus.on_failure = failures.put_nowait
            await operator.bus.grant(f"silo.{SILO}", "other", silo_role(SILO, []))
            while not isinstance(await asyncio.wait_for(failures.get(), PATIENCE_S), NotAuthorized):
                pass
            async with party(broker, f"silo.{SILO}", "other"):
                pass


async def test_a_killed_broker_is_told_again_what_it_forgot(broker: Mosquitto) -> None:
    topic = topics.silo_in(SILO)
    async with operating(broker) as operator:
        await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, []))
        await operator.bus.publish(topic, b"desired", retain=True)
        broker.kill()
        broker.start()
        await operator.joined()
        assert topic not in operator.bus.state.retained, "mosquitto had not saved it"
        assert f"silo.{SILO}" in operator.bus.state.identities, "the plugin saves at once"
        await operator.bus.publish(topic, b"desired", retain=True)
        async with party(broker, f"silo.{SILO}") as silo:
            await silo.bus.subscribe(topic)
            assert (await silo.next()).payload == b"desired"


async def test_a_broker_that_lost_its_volume_takes_the_operator_back(broker: Mosquitto) -> None:
    async with operating(broker) as operator:
        await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, []))
        broker.kill()
        forget_everything(broker)
        broker.start()
        await operator.joined()
        assert not operator.bus.state.identities
        await operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, []))
        async with party(broker, f"silo.{SILO}"):
            pass


async def test_tampering_is_noticed_and_undone(broker: Mosquitto) -> None:
    topic, name = topics.silo_in(SILO), f"silo.{SILO}"
    async with operating(broker) as operator:
        await operator.bus.publish(topic, b"desired", retain=True)
        await operator.bus.grant(name, "p", silo_role(SILO, []))
        await operator.bus.grant("silo.a.intruder", "p", frozenset({Rule(Access.SEND, topic)}))
        async with party(broker, "silo.a.intruder") as intruder:
            await intruder.bus.publish(topic, b"forged", retain=True)
        assert await operator.next_report() == Key("VSilo", "tenant-a", "home")
        await operator.bus.publish(topic, b"desired", retain=True)
        async with party(broker, name) as silo:
            await silo.bus.subscribe(topic)
            assert (await silo.next()).payload == b"desired"


async def test_a_role_that_somebody_widened_is_narrowed_again(broker: Mosquitto) -> None:
    name = f"silo.{SILO}"
    async with operating(broker) as first:
        await first.bus.grant(name, "p", silo_role(SILO, []))
        wider = {"command": "addRoleACL", "rolename": name, "acltype": "subscribePattern", "topic": "#", "allow": True}
        await administer(broker, wider)
    async with operating(broker, epoch=2) as second, party(broker, name) as silo:
        await silo.bus.subscribe("#")
        await second.bus.grant(name, "p", silo_role(SILO, []))
        with pytest.raises(NotAuthorized):
            await silo.bus.subscribe("#")


async def administer(broker: Mosquitto, command: dict[str, object]) -> None:
    async with party(broker, BOOTSTRAP, FIRST_PASSWORD) as somebody:
        await somebody.bus.publish(CONTROL, orjson.dumps({"commands": [command]}))


async def test_many_identities_are_read_page_by_page(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    many = 45
    monkeypatch.setattr(dynsec, "_PAGE", 20)
    async with operating(broker) as operator:
        grants = (operator.bus.grant(f"silo.t.s{n}", "p", silo_role(f"t.s{n}", [ROME])) for n in range(many))
        await asyncio.gather(*grants)
    async with operating(broker, epoch=2) as successor:
        assert len(successor.bus.state.identities) == many


async def test_many_retained_messages_have_all_arrived_when_connected(broker: Mosquitto) -> None:
    many = 3000
    async with operating(broker) as operator:
        for number in range(many):
            report = ThingVisorReport(observed_generation=1, epoch=number, health=Health(message="x" * 100))
            await operator.bus.publish(topics.tv_out(f"n.tv{number}"), report.encode(), retain=True)
    async with operating(broker, epoch=2) as successor:
        assert len(successor.bus.state.thing_visors) == many


async def test_without_a_connection_actions_fail_as_passing(broker: Mosquitto) -> None:
    async with operating(broker) as operator:
        broker.pause()  # nothing that is asked now will be answered
        asked = asyncio.create_task(operator.bus.grant(f"silo.{SILO}", "p", silo_role(SILO, [])))
        await asyncio.sleep(0)
        broker.kill()
        with pytest.raises(BusUnavailable) as caught:
            await asyncio.wait_for(asked, PATIENCE_S)
        assert caught.value.transient
        with pytest.raises(BusUnavailable, match="not connected to the bus"):
            await operator.bus.publish(topics.tv_in(TV), b"x", retain=True)
        assert not operator.bus.state.connected
