"""The commands of `python3 -m cluster`; each is a few lines over the module that does the work."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import spec
from cluster.errors import ClusterError

NODE_COMPONENTS = ("containerd", "kubelet", "kube-proxy")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def up(arguments: argparse.Namespace) -> None:
    """Start the cluster, or mend it."""
    from cluster import setup

    labels = parse_labels(arguments.node_label)
    cluster = setup.up(arguments.name, arguments.nodes, arguments.kwok_nodes, labels)
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def parse_labels(words: list[str]) -> dict[str, dict[str, str]]:
    """`node-2=tephra.dev/site=rome` → {"node-2": {"tephra.dev/site": "rome"}}."""
    labels: dict[str, dict[str, str]] = {}
    for word in words:
        parts = word.split("=")
        if len(parts) != 3 or not parts[0].startswith("node-"):
            raise ClusterError(f"--node-label {word!r}: write it as node-2=tephra.dev/site=rome")
        labels.setdefault(parts[0], {})[parts[1]] = parts[2]
    return labels


def down(arguments: argparse.Namespace) -> None:
    """Remove the cluster and everything in it."""
    from cluster import teardown

    if os.geteuid() != 0:
        raise ClusterError("down needs root; run it with sudo")
    for name in sorted(spec.clusters()) if arguments.all else [spec.check_name(arguments.name)]:
        print(f"cluster {name!r} is gone" if teardown.down(name) else f"there is no cluster {name!r}")


def status(arguments: argparse.Namespace) -> int:
    """Print what runs, where things are, and what it costs."""
    from cluster import report

    lines, healthy = report.status(spec.require(arguments.name))
    print("\n".join(lines))
    return 0 if healthy else 1


def clusters(_: argparse.Namespace) -> None:
    """Print the names of all clusters."""
    for name, cluster in sorted(spec.clusters().items()):
        print(f"{name}\tnodes {cluster.nodes}\t{cluster.host_url}")


def kubeconfig(arguments: argparse.Namespace) -> None:
    """Print or write the administrator's kubeconfig."""
    text = spec.require(arguments.name).kubeconfig.read_text()
    if arguments.output:
        spec.write_atomically(Path(arguments.output), text, 0o600)
    else:
        print(text, end="")


def load(arguments: argparse.Namespace) -> None:
    """Import images into every node."""
    from cluster import load as loader

    for line in loader.load(spec.require(arguments.name), [Path(image) for image in arguments.image]):
        print(line)


def component_name(arguments: argparse.Namespace) -> str:
    """`kubelet --node node-1` → `node-1/kubelet`."""
    name: str = arguments.component
    return f"{arguments.node}/{name}" if name in NODE_COMPONENTS else name


def logs(arguments: argparse.Namespace) -> None:
    """Print, or follow, a component's log."""
    cluster = spec.require(arguments.name)
    file = cluster.logs / (component_name(arguments).replace("/", "-") + ".log")
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in cluster.logs.glob("*.log")))
        raise ClusterError(f"no log {file.name}; there are: {known}")
    follow = ["-F"] if arguments.follow else []
    os.execvp("tail", ["tail", "-n", str(arguments.lines), *follow, str(file)])


def control(arguments: argparse.Namespace) -> None:
    """Kill, stop or start a component (for tests of failures)."""
    from cluster import supervisor

    command = {"do": arguments.command, "component": component_name(arguments)}
    print(json.dumps(supervisor.ask(spec.require(arguments.name), command)))


def execute(arguments: argparse.Namespace) -> None:
    """Run a command inside a node's namespaces, or in the control plane's network ('hub')."""
    from cluster import node

    cluster = spec.require(arguments.name)
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if arguments.node == "hub":
        whole = ["nsenter", f"--net=/run/netns/{cluster.hub}", "--", *argv]
    else:
        whole = node.enter(cluster.member(arguments.node), *argv)
    os.execvp(whole[0], whole)


def doctor(_: argparse.Namespace) -> int:
    """Print every check of the machine."""
    from cluster import doctor as checks

    findings = checks.check()
    for finding in findings:
        print(f"{'FAIL' if finding.trouble else 'ok':5}{finding.what}  {finding.trouble}".rstrip())
    return 1 if any(finding.trouble for finding in findings) else 0


def assets(arguments: argparse.Namespace) -> None:
    """Build what is missing and print the directory of all programs."""
    from cluster import build

    print(build.assets(kwok=arguments.kwok))


def supervise(arguments: argparse.Namespace) -> None:
    """Body of the supervisor process."""
    from cluster import setup, supervisor

    cluster = spec.require(arguments.name)
    asyncio.run(supervisor.run(cluster, lambda: setup.components(spec.require(cluster.name))))


def follow(arguments: argparse.Namespace) -> None:
    """Body of the process that follows Services and volumes."""
    from cluster import agent

    agent.run(spec.require(arguments.name))


def enforce(arguments: argparse.Namespace) -> None:
    """Body of the process that enforces NetworkPolicies."""
    from cluster import netpol_testpart

    netpol_testpart.run(spec.require(arguments.name))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python3 -m cluster", description="A real Kubernetes on one machine.")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str, named: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        if named:
            added.add_argument("--name", default="tephra", help="name of the cluster (default: tephra)")
        return added

    one = command("up", up, "start the cluster, or mend it; prints the line that selects it")
    one.add_argument("--nodes", type=int, default=1, help="real nodes (default: 1)")
    one.add_argument("--kwok-nodes", type=int, default=0, help="simulated nodes (default: 0)")
    label_help = "label of a real node, as node-2=tephra.dev/site=rome; may be repeated"
    one.add_argument("--node-label", action="append", default=[], metavar="NODE=KEY=VALUE", help=label_help)
    one = command("down", down, "remove the cluster and everything in it")
    one.add_argument("--all", action="store_true", help="every cluster of this machine")
    command("status", status, "print what runs and where things are; exit code 1 if something is down")
    command("list", clusters, "print the names of all clusters", named=False)
    one = command("kubeconfig", kubeconfig, "print the administrator's kubeconfig")
    one.add_argument("--output", metavar="FILE", help="write it to a file instead")
    one = command("load", load, "import OCI archives into every node that lacks them")
    one.add_argument("image", nargs="+", metavar="IMAGE.tar")
    one = command("logs", logs, "print a component's log")
    one.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    one.add_argument("--lines", type=int, default=200, help="how many of the last lines (default: 200)")
    with_component(one)
    for name, text in (
        ("kill", "kill a component with -9; it is started again"),
        ("stop", "kill a component with -9 and keep it down"),
        ("start", "start a component that was stopped"),
    ):
        with_component(command(name, control, text))
    one = command("exec", execute, "run a command inside a node (or 'hub', the control plane's network)")
    one.add_argument("node")
    one.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    command("doctor", doctor, "check that this machine can run a cluster", named=False)
    one = command("assets", assets, "build what is missing; print the directory of all programs", named=False)
    one.add_argument("--kwok", action="store_true", help="with kwok")
    command("supervise", supervise, "body of the supervisor process; `up` starts it")
    command("agent", follow, "body of the process that follows Services and volumes; `up` starts it")
    command("netpol-testpart", enforce, "body of the process that enforces NetworkPolicies; `up` starts it")
    return whole


def with_component(command: argparse.ArgumentParser) -> None:
    """Add the arguments that name a component."""
    command.add_argument("component", help="etcd, kube-apiserver, kubelet, … (see status)")
    command.add_argument("--node", default="node-1", help="node of a node's component (default: node-1)")
