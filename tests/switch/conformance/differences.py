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
    "test_the_set_copies_ttl_inwards_first_and_decrements_last": Difference(
        "5.12 (optional)", "has no copy-TTL action"
    ),
    "test_a_pushed_vlan_tag_copies_id_and_priority": Difference("5.12.1", "pushes a tag of zeros"),
    "test_a_pushed_shim_goes_before_vlan_tags": Difference("5.12", "pushes MPLS behind VLAN tags"),
    "test_a_pushed_itag_copies_the_priority": Difference("5.12 (optional)", "has no PBB actions"),
    "test_select_spreads_flows_and_keeps_each[port]": Difference(
        "5.6.1 (choice left to the switch)", "sends flows that differ only in a transport port to one bucket"
    ),
    "test_a_remark_band_raises_the_drop_precedence": Difference("5.7.1 (optional)", "has no dscp_remark band"),
    "test_what_has_no_dscp_is_not_remarked": Difference("5.7.1 (optional)", "has no dscp_remark band"),
    "test_the_packet_behind_a_barrier_meets_the_change": Difference(
        "6.2", "replies before cached flows follow: packets meet the replaced entry"
    ),
    "test_the_packet_behind_a_barrier_meets_no_deleted_entry": Difference(
        "6.2", "replies before cached flows follow: packets meet the deleted entry"
    ),
    "test_groups_do_not_lead_in_a_circle": Difference("6.5", "accepts groups that lead to each other"),
    "test_a_group_does_not_lead_to_itself": Difference("6.5", "accepts a group that leads to itself"),
    "test_groups_do_not_watch_in_a_circle": Difference("6.5", "accepts groups that watch each other"),
    "test_no_entry_leads_to_a_group_that_is_not_there": Difference("6.5", "accepts a bucket that leads to no group"),
    "test_only_deletes_name_all_tables": Difference("6.4", "refuses with BAD_REQUEST, not FLOW_MOD_FAILED"),
    "test_field[eth_type behind tags]": Difference("7.2.3.7", "sees the type behind one VLAN tag only"),
    "test_field[pbb_isid]": Difference("7.2.3.7 (optional)", "has no PBB fields"),
    "test_field[pbb_isid masked]": Difference("7.2.3.7 (optional)", "has no PBB fields"),
    "test_in_phy_port_is_the_ingress_port_of_a_physical_one": Difference(
        "7.2.3.7 (optional)", "has no field IN_PHY_PORT"
    ),
    "test_extension_headers[-0]": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_extension_headers[hop-64]": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_extension_headers[dest-8]": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_extension_headers[frag-16]": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_extension_headers[auth-4]": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_extension_headers[hop dest frag auth dest-92]": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_extension_headers[dest dest dest-136]": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_extension_headers[auth frag-276]": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_no_next_header": Difference("7.2.3.7 (optional)", "has no field IPV6_EXTHDR"),
    "test_later_fragments_have_no_transport": Difference(
        "7.3.2", "gives fragments, the first ones too, transport ports of zero"
    ),
    "test_no_packet_in_for_a_table_miss": Difference(
        "7.2.1", "sends packet-ins of table misses in spite of NO_PACKET_IN"
    ),
    "test_what_is_not_counted_is_all_ones": Difference("5.8 (optional)", "counts in spite of the flags"),
    "test_version": Difference("7.1", "says nothing to a message of another version"),
    "test_match_type": Difference("7.2.3.1", "refuses with BAD_LEN, not BAD_TYPE"),
    "test_match_fields[short]": Difference("7.2.3.3", "refuses with BAD_FIELD, not BAD_LEN"),
    "test_match_fields[short mask]": Difference("7.2.3.3", "refuses with BAD_FIELD, not BAD_LEN"),
    "test_match_fields[masked prerequisite]": Difference("7.2.3.6", "refuses the mask (BAD_MASK), which quake allows"),
    "test_match_fields[mask of a port]": Difference("7.2.3.5", "refuses with BAD_WILDCARDS, not BAD_MASK"),
    "test_match_fields[vid absent]": Difference("7.2.3.7", "accepts a VLAN ID without OFPVID_PRESENT"),
    "test_instructions[goto of 12]": Difference("7.2.4", "refuses with BAD_REQUEST, not BAD_INSTRUCTION"),
    "test_a_slave_does_not_set_table_features": Difference("6.3.4", "refuses with an error of its own, not IS_SLAVE"),
    "test_fragments_are_not_reassembled": Difference("7.3.2", "accepts a treatment of fragments that it does not have"),
    "test_what_pop_mpls_leaves_is_of_the_action_s_type[ip left]": Difference(
        "5.12", "drops a packet whose popped shim was not the bottom of the stack, when IP is to be left"
    ),
    "test_set_field[eth_type]": Difference("7.2.5 (optional)", "does not set ETH_TYPE"),
    "test_set_field[ip_proto]": Difference("7.2.5 (optional)", "does not set IP_PROTO"),
    "test_set_field[mpls_bos]": Difference("7.2.5 (optional)", "does not set MPLS_BOS"),
    "test_set_field[pbb_isid]": Difference("7.2.5 (optional)", "has no PBB fields"),
    "test_what_is_no_header_is_not_set[{'in_port': 1}]": Difference(
        "7.2.5", "refuses with BAD_SET_ARGUMENT, not BAD_SET_TYPE"
    ),
    "test_what_is_no_header_is_not_set[{'in_phy_port': 1}]": Difference(
        "7.2.5", "refuses with BAD_SET_LEN, not BAD_SET_TYPE"
    ),
    "test_what_is_no_header_is_not_set[{'metadata': 1}]": Difference("7.2.5", "sets metadata by set-field"),
    "test_tags_have_their_own_ethernet_types[pbb]": Difference("5.12 (optional)", "has no PBB actions"),
    "test_pbb_headers_come_and_go": Difference("5.12 (optional)", "has no PBB actions"),
    "test_a_backbone_vlan_is_pushed_on_pbb": Difference("5.12 (optional)", "has no PBB actions"),
    "test_ttl[copy out]": Difference("5.12 (optional)", "has no copy-TTL action"),
    "test_ttl[copy in]": Difference("5.12 (optional)", "has no copy-TTL action"),
    "test_an_auxiliary_connection_carries_packet_ins_and_ends_with_its_main_one": Difference(
        "6.3.5 (optional)", "has no auxiliary connections"
    ),
    "test_arp_requests_are_answered_from_the_rule[untagged]": Difference(
        "an extension of quake", "does not know the action"
    ),
    "test_arp_requests_are_answered_from_the_rule[tagged]": Difference(
        "an extension of quake", "does not know the action"
    ),
    "test_neighbour_solicitations_are_answered_from_the_rule": Difference(
        "an extension of quake", "does not know the action"
    ),
    "test_the_owner_s_own_probe_is_not_answered": Difference("an extension of quake", "does not know the action"),
}


def table() -> str:
    """The differences as Markdown, for README.md."""
    rows = [f"| `{case}` | {d.clause} | {d.ovs} |" for case, d in DIFFERENCES.items()]
    return "\n".join(["| case | clause that decides | Open vSwitch 3.1 |", "|---|---|---|", *rows])
