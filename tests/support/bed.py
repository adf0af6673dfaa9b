"""A cluster for tests: the one that TEPHRA_TEST_KUBECONFIG names, or a fresh one that is removed at the end.

Neighbours: `tests/cluster/conftest.py` makes the fixture; `tests/support/system.py` installs Tephra on it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import build, spec

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Bed:
    """A running cluster; `name` is None if it is not one of ours, whose parts can be killed."""

    kubeconfig: str
    assets: str
    name: str | None = None

    def command(self, *arguments: str, check: bool = True) -> str:
        """Run `python3 -m cluster ARGUMENTS --name <this cluster>`; returns its standard output."""
        assert self.name, "this needs a cluster of ours"
        verb, *rest = arguments
        return launch(verb, "--name", self.name, *rest, check=check)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Output of kubectl on this cluster; the error shows what it printed."""
        argv = [f"{self.assets}/kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        return output(argv, stdin, check)


def output(argv: list[str], stdin: str | None = None, check: bool = True) -> str:
    """Standard output of a command; AssertionError with all it printed if it fails and must not."""
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False, cwd=ROOT)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def launch(*arguments: str, check: bool = True) -> str:
    """Run a command of the launcher."""
    return output([sys.executable, "-m", "cluster", *arguments], check=check)


def given() -> Bed | None:
    """The cluster of TEPHRA_TEST_KUBECONFIG, None if it names none."""
    kubeconfig = os.environ.get("TEPHRA_TEST_KUBECONFIG")
    if not kubeconfig:
        return None
    ours = {str(cluster.kubeconfig): name for name, cluster in spec.clusters().items()}
    return Bed(kubeconfig, str(build.assets()), ours.get(str(Path(kubeconfig).resolve())))


@contextmanager
def fresh(nodes: int, *options: str, suffix: str = "") -> Iterator[Bed]:
    """A cluster of its own, removed at the end; TEPHRA_TEST_KEEP=1 leaves it for a look."""
    name = f"tephra-test-{os.getpid()}{suffix}"
    try:
        launch("up", "--name", name, "--nodes", str(nodes), *options)
        yield Bed(str(spec.require(name).kubeconfig), str(build.assets()), name)
    finally:
        if not os.environ.get("TEPHRA_TEST_KEEP"):
            launch("down", "--name", name)
