"""`make run`: the main job, from nothing to live data, told step by step with the time each took.

Cluster, images, chart, the weather example, then the entities as they arrive at tenant-a's broker. Everything is
left running. It only calls the commands a person would call (`cluster`, `cluster.images`, helm, kubectl, kubectl
tephra), so that each step can be repeated by hand. Neighbours: `cluster.cli` and `cluster.images`, used as commands;
`charts/tephra` and `examples/weather`.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "tephra-system"
MESSAGES = 9
"""How many entities are shown before the prompt comes back."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; the first that fails ends it with its own message."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    try:
        Demo(options, ROOT / "examples/weather").play()
    except subprocess.CalledProcessError as error:
        print(f"\nstopped: `{' '.join(map(str, error.cmd))}` ended with code {error.returncode}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    undo = "kubectl tephra uninstall" if options.existing else "make clean"
    print(f"\ntotal {time.monotonic() - started:.0f} s; the system is left running, `{undo}` removes it all")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m cluster.run", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--name", default="tephra", help="name of the cluster (default: tephra)")
    parser.add_argument("--nodes", type=int, default=1, help="real nodes to make (default: 1)")
    existing = "use the current kubeconfig's cluster instead, which holds the images of build/images already"
    parser.add_argument("--existing", action="store_true", help=existing)
    address = "host by which NodePorts are reached (default: loopback; with --existing a node's address)"
    parser.add_argument("--external-address", metavar="HOST", help=address)
    return parser


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print what is done and, at the end, how long it took."""
    print(f"==> {title}", flush=True)
    started = time.monotonic()
    yield
    print(f"    {title}: {time.monotonic() - started:.1f} s", flush=True)


class Demo:
    """The steps of one run against one cluster."""

    def __init__(self, options: argparse.Namespace, example: Path) -> None:
        self.name, self.existing, self.nodes, self.example = options.name, options.existing, options.nodes, example
        self.address = options.external_address or ("" if options.existing else "127.0.0.1")
        self.environment = dict(os.environ)

    def play(self) -> None:
        """All steps in order."""
        with step("Kubernetes' binaries"):
            self._use_binaries()
        with step("images"):
            self._python("cluster.images", "build")
        if not self.existing:
            with step(f"cluster {self.name!r}"):
                self._python("cluster", "up", "--name", self.name, "--nodes", str(self.nodes))
            with step("images into the nodes"):
                self._python("cluster", "load", "--name", self.name, *_image_files())
        with step("chart"):
            self._install()
        with step("examples/weather"):
            self._call("kubectl", "apply", "--server-side", "-f", str(self.example))
            self._call("kubectl", "-n", "tenant-a", "wait", "--for=condition=Ready", "vsilo/home", "--timeout=300s")
        with step("live data at tenant-a's broker"):
            self._call("kubectl-tephra", "-n", "tenant-a", "tail", "vsilo/home", "--count", str(MESSAGES))
        self._next_steps()

    def _use_binaries(self) -> None:
        assets = subprocess.run(
            [sys.executable, "-m", "cluster", "assets"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        paths = [str(Path(sys.executable).parent), assets, self.environment.get("PATH", "")]
        self.environment["PATH"] = os.pathsep.join(paths)
        if not self.existing:
            self.environment["KUBECONFIG"] = str(self._kubeconfig())

    def _kubeconfig(self) -> Path:
        return ROOT / "build" / f"{self.name}.kubeconfig"

    def _install(self) -> None:
        if not self.existing:
            text = self._python("cluster", "kubeconfig", "--name", self.name, capture=True)
            self._kubeconfig().write_text(text)
            self._kubeconfig().chmod(0o600)
        chart = ("helm", "upgrade", "--install", "tephra", "charts/tephra", "--namespace", NAMESPACE)
        values = ("--values", "build/images/values.yaml", "--set", f"silo.externalAddress={self.address}")
        self._call(*chart, *values, "--create-namespace", "--wait", "--timeout", "5m")

    def _next_steps(self) -> None:
        export = "" if self.existing else f"export KUBECONFIG={self._kubeconfig()}\n"
        path = os.pathsep.join(self.environment["PATH"].split(os.pathsep)[:2])
        endpoint = self._get("{.status.endpoint.external}")
        host, _, port = endpoint.rpartition("/")[2].rpartition(":")
        print(f"""
What to try next (paste as it is):

{export}export PATH={path}:$PATH
kubectl get tephra -A
kubectl tephra status -n tenant-a vsilo/home
kubectl tephra tail -n tenant-a vsilo/home
kubectl tephra why -n things thingvisor/weather
kubectl -n tenant-a get secret home-credentials -o jsonpath='{{.data.ca\\.crt}}' | base64 -d > build/home-ca.crt
password=$(kubectl -n tenant-a get secret home-credentials -o jsonpath='{{.data.password}}' | base64 -d)
mosquitto_sub -h {host} -p {port} --cafile build/home-ca.crt -u tenant -P "$password" -t '#' -v""")
        if not self.existing:
            self._python("cluster", "status", "--name", self.name)

    def _get(self, path: str) -> str:
        command = ["kubectl", "-n", "tenant-a", "get", "vsilo", "home", "-o", f"jsonpath={path}"]
        return self._run(command, capture=True)

    def _python(self, module: str, *arguments: str, capture: bool = False) -> str:
        return self._run([sys.executable, "-m", module, *arguments], capture=capture)

    def _call(self, *command: str) -> None:
        self._run(list(command), capture=False)

    def _run(self, command: list[str], *, capture: bool) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE if capture else None, text=True
        )
        return done.stdout or ""


def _image_files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "build/images").glob("*.tar"))


if __name__ == "__main__":
    sys.exit(main())
