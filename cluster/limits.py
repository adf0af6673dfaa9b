"""The host's limit on inotify instances, which every kubelet, containerd and API server draws on.

The kernel's default of 128 per user is used up by a few clusters side by side ("too many open files"). `up` raises it;
`down` of the last cluster puts back what was there.
"""

from pathlib import Path

from cluster.spec import clusters, clusters_dir

INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
NEEDED = 2048


def raise_inotify() -> None:
    """Raise the limit if it is lower, and note what it was."""
    found = int(INOTIFY.read_text())
    if found < NEEDED:
        _note().parent.mkdir(parents=True, exist_ok=True)
        _note().write_text(str(found))
        INOTIFY.write_text(str(NEEDED))


def restore_inotify() -> None:
    """Put the noted limit back when no cluster is left."""
    if not clusters() and _note().exists():
        INOTIFY.write_text(_note().read_text())
        _note().unlink()


def _note() -> Path:
    return clusters_dir() / ".inotify"
