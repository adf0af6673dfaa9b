"""The switch as a process, as it is shipped: supervisor, control socket, probes, tunnels, restart. No privilege needed.

Packets come from a file (net_pcap) that is read once, when its port opens, and go to a file; so a port that opened
before the rules were in force would show as packets that are missing.
"""

import contextlib
import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.quake import NOT_BUILT, PATIENCE_S, QUAKE, Switch, running, until

PACKETS = 500
IN, OUT = 9, 10
LONG = 66000

pytestmark = pytest.mark.skipif(not QUAKE.exists(), reason=NOT_BUILT)


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    write_pcap(tmp_path / "in.pcap")
    metrics = f"127.0.0.1:{free_port()}"
    (tmp_path / "metrics").write_text(metrics)
    with running(tmp_path, "--mbufs", "4096", "--metrics", metrics) as switch:
        yield switch


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def frame(number: int) -> bytes:
    return bytes.fromhex("020000000002020000000001") + b"\x88\xb5" + struct.pack("!I", number) + bytes(42)


def write_pcap(path: Path) -> None:
    records = (struct.pack("<IIII", 0, 0, 60, 60) + frame(n) for n in range(PACKETS))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records))


def read_pcap(path: Path) -> list[bytes]:
    data, at, found = path.read_bytes(), 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        found.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return found


def add_source_and_sink(switch: Switch) -> None:
    sink = f"net_pcap_out,tx_pcap={switch.home}/out.pcap"
    switch.ask("port-add", name="out", type="dpdk", number=OUT, devargs=sink)
    source = f"net_pcap_in,rx_pcap={switch.home}/in.pcap"
    switch.ask("port-add", name="in", type="dpdk", number=IN, devargs=source)


def test_forwards_and_stops_cleanly(switch: Switch) -> None:
    switch.add_rules(f"in_port={IN},actions=output:{OUT}")
    add_source_and_sink(switch)
    until(lambda: switch.sent("out") == PACKETS)
    switch.ask("stop")
    assert switch.supervisor.wait(PATIENCE_S) == 0
    assert read_pcap(switch.home / "out.pcap") == [frame(n) for n in range(PACKETS)]
    assert not (switch.home / "control").exists()


def test_asked_by_signal_it_stops_cleanly(switch: Switch) -> None:
    switch.supervisor.terminate()
    assert switch.supervisor.wait(PATIENCE_S) == 0
    assert not (switch.home / "control").exists()


def test_killed_process_is_followed_by_one_with_its_state(switch: Switch) -> None:
    switch.add_rules(f"in_port={IN},actions=output:{OUT}", "table=3,priority=7,actions=drop")
    add_source_and_sink(switch)
    switch.ask("port-add", name="gone", type="dpdk", devargs="net_null0")
    switch.ask("port-remove", name="gone")
    rules = [rule["rule"].split("table=")[1].split(",")[0] for rule in switch.ask("flows")["flows"]]
    until(lambda: switch.sent("out") == PACKETS)
    killed = switch.process()
    os.kill(killed, signal.SIGKILL)
    until(lambda: switch.answers() and switch.process() != killed)
    assert switch.ask("show")["restored"]
    assert {port["name"]: port["number"] for port in switch.ask("ports")} == {"in": IN, "out": OUT}
    assert [rule["rule"].split("table=")[1].split(",")[0] for rule in switch.ask("flows")["flows"]] == rules
    until(lambda: switch.sent("out") == PACKETS)  # the file was read anew, by a port that opened after the rules


def test_a_long_bundle_and_a_new_port_survive_a_kill(switch: Switch) -> None:
    """More messages than 16 bits count, in one record of the journal; and a port of the same name that was down."""
    target = f"unix:{switch.home}/openflow"
    switch.ask("port-add", name="twice", type="dpdk", number=5, devargs="net_null0")
    control(target, "mod-port", "5", "down")
    switch.ask("port-remove", name="twice")
    switch.ask("port-add", name="twice", type="dpdk", number=5, devargs="net_null0")
    control(target, "--bundle", "add-flows", "-", rules=long_list("drop"))
    killed = switch.process()
    os.kill(killed, signal.SIGKILL)
    until(lambda: switch.answers() and switch.process() != killed)
    assert switch.ask("tables")[0]["rules"] == LONG, switch.log()
    assert switch.port("twice")["link"] == "live"


def test_a_long_log_makes_way_for_a_dump_and_nothing_is_lost(switch: Switch) -> None:
    """Rules are replaced over and over, also while the dump is written."""
    target = f"unix:{switch.home}/openflow"
    control(target, "add-flows", "-", rules=long_list("output:1"))
    once = journal_bytes(switch)
    for port in (2, 3):
        control(target, "add-flows", "-", rules=long_list(f"output:{port}"))
    until(lambda: journal_bytes(switch) < 2.5 * once)
    control(target, "--strict", "del-flows", f"priority=1,dl_dst={address(7)}")
    killed = switch.process()
    os.kill(killed, signal.SIGKILL)
    until(lambda: switch.answers() and switch.process() != killed)
    assert switch.ask("tables")[0]["rules"] == LONG - 1, switch.log()
    assert all(rule["rule"].endswith("actions=output:3") for rule in switch.ask("flows")["flows"])


def address(number: int) -> str:
    return f"02:00:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def long_list(action: str) -> str:
    return "".join(f"priority=1,dl_dst={address(number)},actions={action}\n" for number in range(LONG))


def journal_bytes(switch: Switch) -> int:
    url = f"http://{(switch.home / 'metrics').read_text()}/metrics"
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("quake_journal_bytes "))


def control(target: str, *arguments: str, rules: str = "") -> None:
    """ovs-ofctl with the target where it wants it: before what the command is to do."""
    at = next(i for i, word in enumerate(arguments) if not word.startswith("--")) + 1
    command = ["ovs-ofctl", "-O", "OpenFlow13", *arguments[:at], target, *arguments[at:]]
    subprocess.run(command, input=rules, text=True, check=True, capture_output=True)


def test_tunnel_carries_frames_and_its_liveness(switch: Switch) -> None:
    """A ring that leads back to itself is the underlay; both ends of the tunnel lie over it."""
    ends = {"a": ("10.0.0.1", "10.0.0.2"), "b": ("10.0.0.2", "10.0.0.1")}
    switch.ask("port-add", name="ring", type="dpdk", devargs="net_ring0")
    numbers = {}
    for name, (local, remote) in ends.items():
        tunnel = {"underlay": "ring", "local": local, "remote": remote, "vni": 5, "liveness": {"interval_ms": 50}}
        numbers[name] = switch.ask("port-add", name=name, type="vxlan", **tunnel)["number"]
    until(lambda: all(switch.port(name)["link"] == "live" for name in ends))
    assert switch.port("a")["details"]["liveness"] == "up"
    assert switch.port("a")["mtu"] == switch.port("ring")["mtu"] - 50
    into, out_of = numbers["a"], numbers["b"]
    switch.add_rules(f"in_port={IN},actions=output:{into}", f"in_port={out_of},tun_id=5,actions=output:{OUT}")
    add_source_and_sink(switch)
    until(lambda: switch.sent("out") == PACKETS)
    with pytest.raises(AssertionError, match="carries port a"):
        switch.ask("port-remove", name="ring")
    switch.ask("port-remove", name="b")
    until(lambda: switch.port("a")["link"] == "down")  # nobody answers its liveness any more
    switch.ask("stop")
    assert switch.supervisor.wait(PATIENCE_S) == 0
    assert read_pcap(switch.home / "out.pcap") == [frame(n) for n in range(PACKETS)]


def test_refusals_name_what_is_wrong(switch: Switch) -> None:
    for params, words in (
        ({"name": "p", "type": "carrier-pigeon"}, "carrier-pigeon.*vhost-user"),
        ({"name": "a,b", "type": "memif"}, "a,b"),
        ({"name": "p", "type": "memif", "socket": "/nonexistent/s"}, "port p: cannot listen at /nonexistent/s"),
        ({"name": "p", "type": "memif", "socket": "s", "colour": 1}, "colour"),
        ({"name": "p", "type": "dpdk", "devargs": "net_nothing0"}, "net_nothing0"),
        ({"name": "p", "type": "dpdk", "devargs": "0000:ff:1f.7"}, 'port p: .*0000:ff:1f.7 .*start with "pci": true'),
        (
            {"name": "p", "type": "vxlan", "underlay": "u", "local": "1.1.1.1", "remote": "2.2.2.2", "vni": 1},
            "underlay u",
        ),
    ):
        with pytest.raises(AssertionError, match=words):
            switch.ask("port-add", **params)
    assert switch.ask("ports") == []
    with pytest.raises(AssertionError, match="no method"):
        switch.ask("dance")
    with pytest.raises(AssertionError, match="the last that is awake"):
        switch.ask("worker-park", worker=0)


def test_a_wrong_pci_address_is_told(tmp_path: Path) -> None:
    """With the PCI bus on, on which DPDK may take no device, so that it leaves the machine's own alone."""
    (tmp_path / "quake.json").write_text('{"pci": true, "eal": ["-a", "ffff:ff:1f.7"]}')
    with (
        running(tmp_path, "--mbufs", "4096", "--config", str(tmp_path / "quake.json")) as switch,
        pytest.raises(AssertionError, match=r"port p: there is no PCI device ffff:ff:1f\.6 here; lspci"),
    ):
        switch.ask("port-add", name="p", type="dpdk", devargs="ffff:ff:1f.6")


def test_probes_and_metrics(switch: Switch) -> None:
    address = f"http://{(switch.home / 'metrics').read_text()}"
    switch.ask("port-add", name="n", type="dpdk", devargs="net_null0")
    with urllib.request.urlopen(f"{address}/healthz", timeout=PATIENCE_S) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="503"):  # no controller is connected
        urllib.request.urlopen(f"{address}/readyz", timeout=PATIENCE_S)
    with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE_S) as answer:
        assert 'quake_port_up{port="n",number="1"} 1' in answer.read().decode()


def test_real_time_priority_is_the_workers_alone(tmp_path: Path) -> None:
    """All on one CPU: threads of one such priority that wait for each other would stand still."""
    cpu = str(min(os.sched_getaffinity(0)))
    under = ["taskset", "-c", cpu, "chrt", "-f", "10"]
    if subprocess.run([*under, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no right to a real-time priority")
    with running(tmp_path, "--mbufs", "4096", "--cpus", cpu, under=under) as switch:
        switch.ask("port-add", name="v", type="vhost-user", socket=str(tmp_path / "vhost"))
        tasks = [int(task.name) for task in Path(f"/proc/{switch.process()}/task").iterdir()]
        real_time = {t for t in tasks if os.sched_getscheduler(t) == os.SCHED_FIFO}
        assert [Path(f"/proc/{t}/comm").read_text() for t in real_time] == ["worker0\n"]


def test_a_worker_without_traffic_blocks(switch: Switch) -> None:
    switch.ask("port-add", name="m", type="memif", socket=str(switch.home / "memif"))
    until(lambda: switch.ask("workers")["workers"][0]["state"] == "blocked")


def test_a_port_beside_one_that_cannot_wake_is_not_left_armed(switch: Switch) -> None:
    """A client of an armed port rings for every packet; its worker, which cannot block, would never look."""
    switch.ask("port-add", name="m", type="memif", socket=str(switch.home / "memif"))
    switch.ask("port-add", name="n", type="dpdk", devargs="net_null0,no-rx=1")
    with memif_client(switch.home / "memif") as memory:
        napped = naps(switch)
        until(lambda: naps(switch) > napped + 20000)  # for longer than a worker waits until it tries to block
        until(lambda: memory[RING_FLAGS] == MASKED)


RING_FLAGS, MASKED = 4, 1
"""Offset in memory, and its value while the client need not ring."""


def naps(switch: Switch) -> int:
    return int(switch.ask("workers")["workers"][0]["naps"])


@contextlib.contextmanager
def memif_client(path: Path) -> Iterator[mmap.mmap]:
    """The memory of a client, which begins with the ring that it would send by."""
    size, cookie, log2_size, init, region, ring, connect = 4096, 0x3E31F20, 4, 3, 4, 5, 6
    memory = os.memfd_create("region", os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    shared = mmap.mmap(memory, size)
    bell = os.eventfd(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        channel.settimeout(PATIENCE_S)
        channel.connect(str(path))
        told: list[tuple[bytes, list[int]]] = [
            (struct.pack("<HHIB", init, 0x200, 0, 0), []),
            (struct.pack("<HHQ", region, 0, size), [memory]),
        ]
        for from_client, offset in ((1, 0), (0, size // 2)):
            struct.pack_into("<I", shared, offset, cookie)
            told.append((struct.pack("<HHHHIBH", ring, from_client, 0, 0, offset, log2_size, 0), [bell]))
        for message, fds in [*told, (struct.pack("<H", connect), [])]:
            channel.recv(128)  # the answer to what came before
            socket.send_fds(channel, [message.ljust(128, b"\0")], fds)
        channel.recv(128)
        yield shared
    for fd in (memory, bell):
        os.close(fd)
