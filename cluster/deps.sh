#!/bin/sh
# Installs the Debian packages that Tephra's own cluster, images and tests use; says nothing when all are there.
set -eu
packages="ca-certificates containerd runc containernetworking-plugins inotify-tools iproute2 iptables nftables
 mosquitto mosquitto-clients openssl procps python3 python3-venv util-linux"

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "missing Debian packages; as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing Debian packages:$missing"
# RUNLEVEL=1 keeps the packages' services (a broker, containerd) from starting: we start our own.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $missing >/dev/null
