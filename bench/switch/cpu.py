"""What a thread of another process spent: nanoseconds on a CPU, from /proc (schedstat, which needs no privilege)."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread, by process and thread id."""

    pid: int
    tid: int

    def cpu_ns(self) -> int:
        """Nanoseconds this thread has run since it began."""
        return int(Path(f"/proc/{self.pid}/task/{self.tid}/schedstat").read_text().split()[0])


def find_thread(pid: int, name: str) -> Thread:
    """The thread of `pid` whose name starts with `name`; LookupError, with the names there are, if none does."""
    names = {int(task.name): (task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()}
    for tid, comm in names.items():
        if comm.startswith(name):
            return Thread(pid, tid)
    raise LookupError(f"process {pid} has no thread {name!r}; it has {sorted(set(names.values()))}")
