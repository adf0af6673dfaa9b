"""Where topologies come from: the Internet Topology Zoo, and the cluster's own Nodes."""
