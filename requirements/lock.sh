#!/bin/sh
# Writes the lock files from pyproject.toml: every version and hash, and no index address.
# Needs `uv` on PATH. Three sets: what a ThingVisor or silo image holds, what the operator image holds, everything.
set -eu
cd "$(dirname "$0")/.."
lock() {
    out=$1; shift
    uv pip compile pyproject.toml "$@" --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --quiet --output-file "requirements/$out"
}
lock things.lock
lock operator.lock --extra operator
lock dev.lock --extra operator --extra placement --extra plots --extra dev
