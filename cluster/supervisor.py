"""The one process per cluster that starts its components and starts them again when they end.

`run` is the body of `python3 -m cluster supervise`, which `cluster up` starts detached. Commands
come over a unix socket, one JSON object per line (`ask` is the client). The records in
`supervisor.json` let a new supervisor adopt the components of one that was killed.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster import procs
from cluster.component import Component, environment
from cluster.errors import ClusterError
from cluster.kubeapi import Api
from cluster.spec import Cluster, write_atomically

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
HEALTHY_SECONDS = 10.0  # a component that lived this long is started again after FIRST_PAUSE


class Runner:
    """Keeps one component alive."""

    def __init__(self, component: Component, cluster: Cluster, record: dict[str, Any]) -> None:
        self.component = component
        self.cluster = cluster
        self.pid: int | None = None
        self.start: int | None = None
        self.restarts: int = record.get("restarts", 0)
        self.allowed = asyncio.Event()
        if not record.get("stopped"):
            self.allowed.set()
        if record.get("pid") and procs.start_time(record["pid"]) == record["start"]:
            self.pid, self.start = record["pid"], record["start"]

    def record(self) -> dict[str, Any]:
        """What another supervisor needs to go on, and what `status` shows."""
        stopped = not self.allowed.is_set()
        return {"pid": self.pid, "start": self.start, "restarts": self.restarts, "stopped": stopped}

    def spawn(self) -> None:
        """Start the component."""
        with (self.cluster.logs / self.component.log_name).open("ab") as log:
            process = subprocess.Popen(
                self.component.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self.cluster),
                cwd="/",
                start_new_session=True,
            )
        process.returncode = 0  # procs.exited reaps it; Popen must not try to
        self.pid, self.start = process.pid, procs.start_time(process.pid)

    async def run(self, api_ready: asyncio.Event, changed: Callable[[], None]) -> None:
        """Start, wait, start again, for ever; the first start may wait for the API server."""
        if self.component.needs_api:
            await api_ready.wait()
        pause = FIRST_PAUSE
        while True:
            await self.allowed.wait()
            began = time.monotonic()
            if self.pid is None:
                self.spawn()
                changed()
            assert self.pid is not None
            await procs.exited(self.pid)
            self.pid = self.start = None
            changed()
            if not self.allowed.is_set():
                continue
            self.restarts += 1
            pause = FIRST_PAUSE if time.monotonic() - began > HEALTHY_SECONDS else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def signal(self, number: int) -> None:
        """Send a signal to the component if it runs."""
        if self.pid is not None:
            os.kill(self.pid, number)


class Supervisor:
    """All runners of a cluster, the records, and the control socket."""

    def __init__(self, cluster: Cluster, plan: Callable[[], list[Component]]) -> None:
        self.cluster = cluster
        self.plan = plan
        self.runners: dict[str, Runner] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.api_ready = asyncio.Event()

    def save(self) -> None:
        """Write the records."""
        records = {name: runner.record() for name, runner in self.runners.items()}
        own = {"pid": os.getpid(), "start": procs.start_time(os.getpid())}
        text = json.dumps({"supervisor": own, "components": records}, indent=1)
        write_atomically(self.cluster.dir / "supervisor.json", text)

    def reload(self, records: dict[str, Any] | None = None) -> None:
        """Start a runner for every planned component that has none."""
        for component in self.plan():
            if component.name not in self.runners:
                runner = Runner(component, self.cluster, (records or {}).get(component.name, {}))
                self.runners[component.name] = runner
                task = asyncio.get_running_loop().create_task(runner.run(self.api_ready, self.save))
                self.tasks.add(task)
                task.add_done_callback(self.task_ended)
        self.save()

    def task_ended(self, task: asyncio.Task[None]) -> None:
        """A runner never returns: if one does, say why in the supervisor's log."""
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            print(f"a runner failed: {error!r}", file=sys.stderr, flush=True)

    async def watch_api(self) -> None:
        """Let the components go that wait for the API server."""
        api = Api(self.cluster)
        while not await asyncio.to_thread(api.ready):
            await asyncio.sleep(0.05)
        self.api_ready.set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One command per connection."""
        try:
            reply = self.do(json.loads(await reader.readline()))
        except (KeyError, ValueError, OSError) as error:
            reply = {"error": f"{error!r}"}
        writer.write(json.dumps(reply).encode() + b"\n")
        await writer.drain()
        writer.close()

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Perform a command: {"do": "reload"} or {"do": kill|stop|start, "component": name}."""
        if command["do"] == "reload":
            self.reload()
            return {}
        runner = self.runners.get(command["component"])
        if runner is None:
            return {"error": f"no component {command['component']!r}; there are: {', '.join(self.runners)}"}
        if command["do"] == "start":
            runner.allowed.set()
        else:
            if command["do"] == "stop":
                runner.allowed.clear()
            runner.signal(signal.SIGKILL)
        self.save()
        return runner.record()


def records(cluster: Cluster) -> dict[str, Any]:
    """The latest records: {"supervisor": {pid, start}, "components": {name: record}}; {} if none."""
    try:
        loaded: dict[str, Any] = json.loads((cluster.dir / "supervisor.json").read_text())
    except FileNotFoundError:
        return {}
    return loaded


def is_running(cluster: Cluster) -> bool:
    """Whether the cluster's supervisor is alive."""
    own = records(cluster).get("supervisor", {})
    return bool(own) and bool(procs.start_time(own["pid"]) == own["start"])


async def run(cluster: Cluster, plan: Callable[[], list[Component]]) -> None:
    """Supervise the components that `plan` names until killed."""
    supervisor = Supervisor(cluster, plan)
    supervisor.reload(records(cluster).get("components", {}))
    path = socket_path(cluster)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(supervisor.answer, path)
    path.chmod(0o600)
    await supervisor.watch_api()
    await server.serve_forever()


def socket_path(cluster: Cluster) -> Path:
    """The control socket."""
    return cluster.dir / "supervisor.sock"


def start(cluster: Cluster, repository: Path) -> None:
    """Start the supervisor as a detached process and wait until it takes commands."""
    socket_path(cluster).unlink(missing_ok=True)
    with (cluster.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cluster", "supervise", "--name", cluster.name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment(cluster), "PYTHONPATH": str(repository)},
            cwd="/",
            start_new_session=True,
        )
    deadline = time.monotonic() + 20
    while not socket_path(cluster).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            log_file = cluster.logs / "supervisor.log"
            raise ClusterError(f"the supervisor did not start; see {log_file}: {log_file.read_text()[-800:]}")
        time.sleep(0.02)


def ask(cluster: Cluster, command: dict[str, Any]) -> dict[str, Any]:
    """Send one command to the supervisor and return its answer; ClusterError if it refuses."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(socket_path(cluster)))
        except OSError as error:
            raise ClusterError(
                f"the supervisor of cluster {cluster.name!r} does not answer ({error}); "
                f"mend it: python3 -m cluster up --name {cluster.name}"
            ) from error
        connection.sendall(json.dumps(command).encode() + b"\n")
        reply: dict[str, Any] = json.loads(connection.makefile().readline())
    if "error" in reply:
        raise ClusterError(reply["error"])
    return reply
