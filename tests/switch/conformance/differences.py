"""Where Open vSwitch 3.1 (userspace datapath) does otherwise than OpenFlow 1.3.5 asks for, case by case."""

from typing import NamedTuple


class Difference(NamedTuple):
    clause: str  # the section that decides
    ovs: str  # what Open vSwitch does


DIFFERENCES: dict[str, Difference] = {
    "test_table_is_refused_in_an_entry": Difference("4.5", "accepts output to TABLE in an entry, and resubmits"),
    "test_no_output_to_what_is_no_port[zero]": Difference("7.2.1", "accepts output to port 0 (ports start at 1)"),
    "test_no_packet_out_from_what_is_no_ingress_port[4294967295]": Difference("7.3.7", "takes a packet-out from ANY"),
    "test_no_packet_out_from_what_is_no_ingress_port[0]": Difference("7.3.7", "takes a packet-out from port 0"),
    "test_a_miss_in_a_later_table_drops_the_action_set_too": Difference(
        "5.4", "executes the action set of a packet that a later table without table-miss entry did not match"
    ),
}
