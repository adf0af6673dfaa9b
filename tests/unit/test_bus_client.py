"""The bus client against a real Mosquitto: acknowledgement, order, reconnection, refusal, TLS, credentials."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from paho.mqtt import client as paho

from tephra.bus.client import BusClient, BusError, ConnectionLost, Delivery, Endpoint, NotAuthorized, Session
from tephra.bus.roles import Access, Rule
from tests.support.mosquitto import Mosquitto, free_port, make_certificates


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


class Inbox:
    """Collects deliveries; wait for a number of them."""

    def __init__(self) -> None:
        self.messages: list[Delivery] = []
        self._changed = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.messages.append(delivery)
        self._changed.set()

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.messages) < count:
                self._changed.clear()
                await self._changed.wait()


async def connected(bus: BusClient) -> BusClient:
    async with asyncio.timeout(10):
        await bus.connected.wait()
    return bus


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[BusClient]:
    async with BusClient(broker.endpoint(), Session(client_id="publisher")) as client:
        yield await connected(client)


async def subscriber(broker: Mosquitto, inbox: Inbox, topic_filter: str, session: Session) -> BusClient:
    """A connected client that subscribes at every connection."""

    async def greet(_session_present: bool) -> None:
        await client.subscribe(topic_filter)

    client = BusClient(broker.endpoint(), session, on_message=inbox, on_connect=greet)
    client.start()
    return await connected(client)


async def test_what_is_published_arrives_with_its_user_properties(broker: Mosquitto, bus: BusClient) -> None:
    inbox = Inbox()
    reader = await subscriber(broker, inbox, "a/#", Session(client_id="reader"))
    await bus.publish("a/b", b"x" * 100_000, user={"seq": "1", "epoch": "17"})
    await bus.publish("a/é", b"", qos=0)
    await inbox.wait(2)
    first, second = inbox.messages
    assert (first.topic, len(first.payload), first.user, first.retain) == (
        "a/b",
        100_000,
        {"seq": "1", "epoch": "17"},
        False,
    )
    assert (second.topic, second.payload, second.user) == ("a/é", b"", {})
    await reader.stop()


async def test_a_late_subscriber_sees_what_was_retained(broker: Mosquitto, bus: BusClient) -> None:
    await bus.publish("last/value", b"7", retain=True)
    inbox = Inbox()
    reader = await subscriber(broker, inbox, "last/+", Session(client_id="reader"))
    await inbox.wait(1)
    assert (inbox.messages[0].payload, inbox.messages[0].retain) == (b"7", True)
    await reader.stop()


async def test_twenty_thousand_pipelined_messages_arrive_in_order(broker: Mosquitto, bus: BusClient) -> None:
    inbox = Inbox()
    reader = await subscriber(broker, inbox, "n", Session(client_id="reader"))
    last = None
    for number in range(20_000):
        await bus.writable()
        last = bus.publish_nowait("n", b"%d" % number)
    assert last is not None
    await last
    await inbox.wait(20_000)
    assert inbox.payloads == [b"%d" % number for number in range(20_000)]
    await reader.stop()


async def test_what_is_published_without_a_connection_follows_the_greeting(broker: Mosquitto) -> None:
    inbox = Inbox()
    reader = await subscriber(broker, inbox, "n/#", Session(client_id="reader"))

    async def greet(_session_present: bool) -> None:
        await client.publish("n/greeting", b"first")

    client = BusClient(broker.endpoint(), Session(client_id="early"), on_connect=greet)
    client.start()
    waiting = [client.publish_nowait("n/early", b"%d" % number) for number in range(5)]
    await asyncio.gather(*waiting)
    await inbox.wait(6)
    assert inbox.payloads == [b"first", b"0", b"1", b"2", b"3", b"4"]
    await client.stop()
    await reader.stop()


async def test_a_greeting_larger_than_the_window_gets_through(broker: Mosquitto) -> None:
    async def greet(_session_present: bool) -> None:
        await asyncio.gather(*(client.publish_nowait(f"g/{number}", b"v") for number in range(200)))

    client = BusClient(broker.endpoint(), Session(client_id="talker", window=10), on_connect=greet)
    async with client:
        await connected(client)


async def test_unacknowledged_messages_survive_a_killed_broker_in_order(broker: Mosquitto, bus: BusClient) -> None:
    broker.pause()
    futures = [bus.publish_nowait("n", b"%d" % number, retain=True) for number in range(3000)]
    await asyncio.sleep(0)
    broker.kill()
    broker.start()
    inbox = Inbox()
    reader = await subscriber(broker, inbox, "n", Session(client_id="reader"))
    await asyncio.wait_for(asyncio.gather(*futures), 20)
    numbers = [int(payload) for payload in inbox.payloads]
    assert numbers == sorted(numbers)
    await reader.stop()


async def test_reconnects_within_a_second_after_a_restart(broker: Mosquitto, bus: BusClient) -> None:
    broker.kill()
    broker.start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await bus.publish("n", b"again")
    assert loop.time() - began < 2


async def test_a_broker_that_is_away_is_looked_for_often(broker: Mosquitto) -> None:
    """However long it was away, it is met soon after its restart."""
    failures: list[float] = []
    enough = asyncio.Event()

    def note(_error: Exception) -> None:
        failures.append(asyncio.get_running_loop().time())
        if len(failures) == 12:
            enough.set()

    broker.kill()
    async with BusClient(broker.endpoint(), Session(client_id="patient"), on_failure=note):
        await asyncio.wait_for(enough.wait(), 20)
    broker.start()
    assert max(after - before for before, after in pairwise(failures)) < 1


async def test_a_broker_that_hangs_is_noticed_and_left(broker: Mosquitto) -> None:
    async with BusClient(broker.endpoint(), Session(client_id="patient", keepalive=1)) as client:
        await connected(client)
        broker.pause()
        async with asyncio.timeout(10):
            while client.connected.is_set():
                await asyncio.sleep(0.05)
        broker.resume()
        await asyncio.wait_for(client.publish("n", b"again"), 20)


async def test_a_session_keeps_what_was_not_acknowledged(broker: Mosquitto, bus: BusClient) -> None:
    inbox = Inbox()
    session = Session(client_id="careful", manual_ack=True)
    reader = await subscriber(broker, inbox, "n", session)
    await bus.publish("n", b"1")
    await bus.publish("n", b"2")
    await inbox.wait(2)
    inbox.messages[0].ack()
    await reader.stop()
    again = Inbox()
    reader = await subscriber(broker, again, "n", session)
    await again.wait(1)
    assert again.payloads == [b"2"]
    inbox.messages[1].ack()  # of a connection that is gone: nothing happens
    await reader.stop()


async def test_a_failing_message_handler_does_not_break_the_stream(broker: Mosquitto, bus: BusClient) -> None:
    seen: list[bytes] = []
    done = asyncio.Event()

    def handle(delivery: Delivery) -> None:
        seen.append(delivery.payload)
        if delivery.payload == b"bad":
            raise RuntimeError("handler is broken")
        done.set()

    async with BusClient(broker.endpoint(), Session(client_id="reader"), on_message=handle) as reader:
        await connected(reader)
        await reader.subscribe("n")
        await bus.publish("n", b"bad")
        await bus.publish("n", b"good")
        await asyncio.wait_for(done.wait(), 5)
    assert seen == [b"bad", b"good"]


async def test_two_clients_with_one_id_do_not_spin(broker: Mosquitto) -> None:
    greetings: list[float] = []
    enough = asyncio.Event()

    async def greet(_session_present: bool) -> None:
        greetings.append(asyncio.get_running_loop().time())
        if len(greetings) == 10:
            enough.set()

    first = BusClient(broker.endpoint(), Session(client_id="same"), on_connect=greet)
    second = BusClient(broker.endpoint(), Session(client_id="same"), on_connect=greet)
    async with first, second:
        await asyncio.wait_for(enough.wait(), 20)
    assert greetings[-1] - greetings[0] > 0.3


async def test_stop_waits_for_the_last_acknowledgements(broker: Mosquitto) -> None:
    client = BusClient(broker.endpoint(), Session(client_id="leaving"))
    async with client:
        await connected(client)
        futures = [client.publish_nowait("n", b"x") for _ in range(5000)]
    assert all(future.done() and not future.exception() for future in futures)


async def test_stop_without_a_connection_fails_what_waits() -> None:
    client = BusClient(Endpoint("mqtt://127.0.0.1:1"), Session(client_id="nowhere"))
    client.start()
    future = client.publish_nowait("n", b"x")
    with pytest.raises(ConnectionLost):
        await client.subscribe("n")
    await client.stop()
    with pytest.raises(ConnectionLost, match="stopped"):
        await future


@pytest.mark.parametrize("url", ["localhost:1883", "http://localhost", "mqtt://", "unix://"])
async def test_a_wrong_url_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="broker URL"):
        BusClient(Endpoint(url), Session(client_id="x")).start()


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """TLS and dynamic security: ``alice`` may publish and read ``alice/#`` only."""
    with Mosquitto(tmp_path, dynsec=True, tls=True) as running:
        await running.deny_by_default()
        role = frozenset(Rule(access, "alice/#") for access in Access)
        await running.add_client("alice", "one", role)
        yield running


async def test_refusals_name_topic_and_code(guarded: Mosquitto) -> None:
    async with BusClient(guarded.endpoint("alice", "one")) as alice:
        await connected(alice)
        await alice.subscribe("alice/#")
        await alice.publish("alice/x", b"mine")
        with pytest.raises(NotAuthorized, match=r"publish to bob/x \(reason code 135\)"):
            await alice.publish("bob/x", b"not mine")
        with pytest.raises(NotAuthorized, match=r"subscribe to bob/# \(reason code 135\)"):
            await alice.subscribe("bob/#")
        await alice.publish("alice/x", b"still connected")


async def error_of(client: BusClient) -> str:
    async with asyncio.timeout(5):
        while not client.last_error:
            await asyncio.sleep(0.01)
    return client.last_error


async def test_a_wrong_password_is_told_and_then_mended(guarded: Mosquitto) -> None:
    async with BusClient(guarded.endpoint("alice", "wrong")) as alice:
        assert "refused user 'alice'" in await error_of(alice)
        alice.update_credentials(guarded.endpoint("alice", "one"))
        await connected(alice)
        assert alice.last_error == ""


async def test_a_server_certificate_of_a_stranger_is_refused(guarded: Mosquitto, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    endpoint = guarded.endpoint("alice", "one")._replace(ca_file=str(tmp_path / "ca.crt"))
    async with BusClient(endpoint) as alice:
        assert "certificate verify failed" in (await error_of(alice)).lower()


async def test_a_removed_client_is_cut_off_and_returns_when_restored(guarded: Mosquitto) -> None:
    async with BusClient(guarded.endpoint("alice", "one")) as alice:
        await connected(alice)
        await guarded.command({"command": "disableClient", "username": "alice"})
        await error_of(alice)
        pending = alice.publish_nowait("alice/x", b"waits")
        await guarded.command({"command": "enableClient", "username": "alice"})
        await asyncio.wait_for(pending, 10)


async def test_rotated_credential_files_are_taken_up(guarded: Mosquitto, tmp_path: Path) -> None:
    directory = tmp_path / "bus"
    directory.mkdir()
    for name, text in (("url", guarded.url), ("username", "alice"), ("password", "one")):
        (directory / name).write_text(text)
    (directory / "ca.crt").write_bytes(guarded.ca_file.read_bytes())
    async with BusClient(directory) as alice:
        await connected(alice)
        (directory / "password").write_text("two")
        await guarded.command({"command": "setClientPassword", "username": "alice", "password": "two"})
        await asyncio.wait_for(alice.publish("alice/x", b"after rotation"), 10)


async def test_many_messages_over_tls(guarded: Mosquitto) -> None:
    inbox = Inbox()
    async with BusClient(guarded.endpoint("alice", "one"), Session(), on_message=inbox) as alice:
        await connected(alice)
        await alice.subscribe("alice/#")
        for number in range(5000):
            alice.publish_nowait("alice/n", b"%d" % number + b"." * 400)
        await inbox.wait(5000)
    assert [int(payload.rstrip(b".")) for payload in inbox.payloads] == list(range(5000))


async def test_a_greeting_that_is_refused_is_tried_again(guarded: Mosquitto) -> None:
    attempts = 0

    async def greet(_session_present: bool) -> None:
        nonlocal attempts
        attempts += 1
        await alice.subscribe("alice/#" if attempts > 1 else "bob/#")

    async with BusClient(guarded.endpoint("alice", "one"), on_connect=greet) as alice:
        assert "bob/#" in await error_of(alice)
        await connected(alice)
    assert attempts == 2


async def test_websocket_and_unix_socket(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "bus.sock"
    with Mosquitto(tmp_path, extra=f"listener 0 {path}\nlistener {port} 127.0.0.1\nprotocol websockets"):
        for url in (f"unix://{path}", f"ws://localhost:{port}/mqtt"):
            async with BusClient(Endpoint(url), Session(client_id="local")) as client:
                await connected(client)
                await asyncio.gather(*(client.publish_nowait("n", b"x" * 1000) for _ in range(500)))


def test_what_is_overridden_in_paho_is_still_there() -> None:
    """An override of a private method that is no longer called would fail silently."""
    for name in ("_create_socket", "_create_socket_connection", "_handle_publish", "_handle_pubackcomp"):
        source = inspect.getsource(paho.Client)
        assert source.count(f"self.{name}(") >= 1, name


def test_errors_have_one_root() -> None:
    assert issubclass(NotAuthorized, BusError)
    assert issubclass(ConnectionLost, BusError)
