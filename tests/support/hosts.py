"""Two hosts of the kernel's own network, joined by a quake, each in a network namespace. Needs root."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from .namespaces import inside, ip, namespace
from .quake import PATIENCE_S, Switch, running

ADDRESSES = {socket.AF_INET: "10.9.0.{}", socket.AF_INET6: "fd00:9::{}"}


class Hosts:
    """Hosts 1 and 2, each in a namespace, joined by the switch."""

    def __init__(self, switch: Switch, names: tuple[str, str]) -> None:
        self.switch, self.names = switch, names

    def socket(self, host: int, family: int, kind: int) -> socket.socket:
        with inside(self.names[host - 1]):
            made = socket.socket(family, kind)
        made.settimeout(PATIENCE_S)
        return made

    def nothing_was_lost(self) -> None:
        for port in self.switch.ask("ports"):
            statistics = port["statistics"]
            assert not any(statistics[what] for what in ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped"))


def give_addresses(namespace_name: str, interface: str, host: int, mtu: int) -> None:
    for address in (f"10.9.0.{host}/24", f"fd00:9::{host}/64"):
        ip("-n", namespace_name, "addr", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
    ip("-n", namespace_name, "link", "set", interface, "mtu", str(mtu), "up")


def veth(switch_side: str, host: int, mtu: int, host_side: str) -> None:
    pair = ["link", "add", f"s{host}", "netns", switch_side, "mtu", str(mtu), "type", "veth"]
    ip(*pair, "peer", "name", f"h{host}", "netns", host_side)
    ip("-n", switch_side, "link", "set", f"s{host}", "up")
    give_addresses(host_side, f"h{host}", host, mtu)


@contextlib.contextmanager
def hosts(home: Path, kind: str, mtu: int, *options: str) -> Iterator[Hosts]:
    """Host 1 is behind a port of this type: for TAP the switch's own namespace is the host. `options` are quake's."""
    with contextlib.ExitStack() as stack:
        own, one, two = (stack.enter_context(namespace(f"kernel-{n}")) for n in ("switch", "one", "two"))
        veth(own, 2, mtu, two)
        if kind != "tap":
            veth(own, 1, mtu, one)
        else:
            ip("-n", own, "tuntap", "add", "s1", "mode", "tap", "vnet_hdr")
            give_addresses(own, "s1", 1, mtu)
        with inside(own):
            switch = stack.enter_context(running(home, "--mbufs", "4096", *options))
        for number, name, type_name in ((1, "s1", kind), (2, "s2", "af_packet")):
            switch.ask("port-add", name=name, type=type_name, number=number, interface=name)
        switch.add_rules("in_port=1,actions=output:2", "in_port=2,actions=output:1")
        yield Hosts(switch, (one if kind != "tap" else own, two))
