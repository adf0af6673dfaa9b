#!/bin/sh
# Installs the Debian packages of the parts that are named; says nothing when all are there.
# Usage: requirements/debian.sh [cluster] [switch] [bench-switch]
set -eu
needed() {
    case $1 in
    cluster) # Tephra's own cluster, images and tests
        echo "ca-certificates containerd runc containernetworking-plugins inotify-tools iproute2 iptables nftables
              mosquitto mosquitto-clients openssl procps python3 python3-venv util-linux" ;;
    switch) # builds and tests quake; Open vSwitch runs the same conformance cases
        echo "clang clang-tidy gcc libc6-dev libcmocka-dev libdpdk-dev libjansson-dev libssl-dev meson ninja-build
              openvswitch-switch pkg-config" ;;
    bench-switch) # the peers that quake is measured against
        echo "dpdk-dev openvswitch-switch-dpdk" ;;
    *)
        echo "no such part: $1 (cluster, switch, bench-switch)" >&2
        exit 2 ;;
    esac
}

missing=""
for part in "$@"; do
    packages=$(needed "$part") # fails, and so ends the script, for a part that is none
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "missing Debian packages; as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing Debian packages:$missing"
# RUNLEVEL=1 keeps the packages' services (a broker, containerd, a switch) from starting: we start our own.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $missing >/dev/null
