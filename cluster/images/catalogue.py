"""Which images there are and what goes into each; ThingVisors and their simulators are found by folder.

Every Python image is Debian base → Python → locked dependencies → our code, so that all share the lower layers;
the brokers' image is the same base with Mosquitto on top, the switch's the base with DPDK and quake. The SDK's images
hold only the packages they import:
a change of the operator changes neither their tags nor, therefore, any running pod.
"""

import os
import platform
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cluster.images import debian, python, switch
from cluster.images.oci import Blob, Entry, ImageConfig, directory
from cluster.images.recipe import Layer, Recipe, hash_files

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "operator/tephra"
SWITCH = ROOT / "switch"
SHARED_PARTS = ("__init__.py", "bus", "formats", "pod")
THINGVISOR_HOME = "/opt/thingvisor"
APART = frozenset({"quake"})  # built when asked for: the chart does not deploy it yet, and it takes a C compiler
FOLDER_EXCLUDED = ("fixtures", "simulator", "tests", "__pycache__")


def recipes(cache: Path) -> dict[str, Recipe]:
    """Every image by name; ``cache`` holds apt's lists and the date of the packages."""
    apt = cache / "apt"
    refresh = _refreshed(cache).read_text() if _refreshed(cache).exists() else ""
    base = Layer("debian", (*debian.BASE, refresh), _debian_base(apt))
    interpreter = (base, Layer("python", (*debian.PYTHON, refresh), _debian_python(apt)))
    things = (*interpreter, _dependencies("things"))
    operator = (*interpreter, _dependencies("operator"))
    thingvisor = Recipe("thingvisor", (*things, _package("sdk", (*SHARED_PARTS, "things"))), _python_image())
    found = [
        Recipe("operator", (*operator, _package("tephra", ())), _python_image("-m", "tephra.app")),
        Recipe("silo", (*things, _package("silo", (*SHARED_PARTS, "silos"))), _python_image("-m", "tephra.silos")),
        Recipe("mosquitto", (base, Layer("mosquitto", _mosquitto_inputs(refresh), _mosquitto(apt))), _BROKER),
        Recipe("quake", (base, *_switch_layers(apt, refresh)), switch.CONFIG),
        thingvisor,
    ]
    for folder in sorted(path for path in (ROOT / "thingvisors").glob("*") if (path / "thingvisor.yaml").exists()):
        found.append(_with_folder(thingvisor, f"thingvisor-{folder.name}", folder, folder.name))
        if (folder / "simulator").is_dir():
            simulator = f"{folder.name}-simulator"
            found.append(_with_folder(thingvisor, simulator, folder / "simulator", simulator.replace("-", "_")))
    return {recipe.name: recipe for recipe in found}


def refresh_debian(cache: Path) -> None:
    """From now on the Debian layers are those of today's packages; until then the ones first built are kept."""
    _refreshed(cache).parent.mkdir(parents=True, exist_ok=True)
    _refreshed(cache).write_text(datetime.now(tz=UTC).isoformat())


def _refreshed(cache: Path) -> Path:
    return cache / "apt/refreshed"


# --- Debian -----------------------------------------------------------------------------------------


def _debian_base(apt: Path) -> Callable[[Path, Sequence[Blob]], list[Entry]]:
    def build(scratch: Path, _: Sequence[Blob]) -> list[Entry]:
        root = scratch / "root"
        debian.unpack(debian.fetch(debian.BASE, apt, scratch / "debs"), root)
        return debian.tree(root) + debian.base_files(root)

    return build


def _debian_python(apt: Path) -> Callable[[Path, Sequence[Blob]], list[Entry]]:
    def build(scratch: Path, below: Sequence[Blob]) -> list[Entry]:
        root = _extract(below, scratch / "root")
        known = {entry.path for entry in debian.tree(root)}
        debian.unpack(debian.fetch(debian.PYTHON, apt, scratch / "debs"), root)
        python.compile_tree(root, f"/usr/lib/python{python.VERSION}", root)
        added = [entry for entry in debian.tree(root) if entry.path not in known]
        return [*added, Entry("/usr/bin/python3", symlink=f"python{python.VERSION}")]

    return build


def _mosquitto_inputs(refresh: str) -> tuple[str, ...]:
    return (*debian.MOSQUITTO, refresh, _BROKER_SCRIPT.read_text(), _PLUGIN)


def _mosquitto(apt: Path) -> Callable[[Path, Sequence[Blob]], list[Entry]]:
    def build(scratch: Path, _: Sequence[Blob]) -> list[Entry]:
        root = scratch / "root"
        debian.unpack(debian.fetch(debian.MOSQUITTO, apt, scratch / "debs"), root)
        return [
            *debian.tree(root),
            Entry("/usr/local/bin/tephra-mosquitto", mode=0o755, source=_BROKER_SCRIPT),
            Entry(f"/usr/lib/{_PLUGIN}", symlink=f"{debian.triplet()}/{_PLUGIN}"),  # one path on every architecture
            directory("/etc/mosquitto", owner=_BROKER_USER),
            directory("/var/lib/mosquitto", 0o700, owner=_BROKER_USER),
        ]

    return build


_BROKER_SCRIPT = Path(__file__).parent / "files/tephra-mosquitto"
_BROKER_USER = 1883
_PLUGIN = "mosquitto_dynamic_security.so"
_BROKER = ImageConfig(
    entrypoint=["/usr/local/bin/tephra-mosquitto"],
    command=["-c", "/etc/mosquitto/mosquitto.conf"],
    env={"PATH": "/usr/local/bin:/usr/bin:/usr/sbin"},
    user=f"{_BROKER_USER}:{_BROKER_USER}",
)

# --- The switch -------------------------------------------------------------------------------------


def _switch_layers(apt: Path, refresh: str) -> tuple[Layer, Layer]:
    def libraries(scratch: Path, _: Sequence[Blob]) -> list[Entry]:
        root = scratch / "root"
        debian.unpack(debian.fetch(debian.DPDK, apt, scratch / "debs"), root)
        return debian.tree(root)

    files = hash_files(switch.sources(SWITCH), SWITCH)
    program = Layer("quake", (files,), partial(switch.compile_programs, SWITCH))
    return Layer("dpdk", (*debian.DPDK, refresh), libraries), program


# --- Python -----------------------------------------------------------------------------------------


def _dependencies(name: str) -> Layer:
    lock = ROOT / "requirements" / f"{name}.lock"

    def build(scratch: Path, below: Sequence[Blob]) -> list[Entry]:
        root = scratch / "root"
        python.wheels(lock, root / python.DEPENDENCIES.lstrip("/"), platform.machine())
        return _compiled(root, python.DEPENDENCIES, below)

    content = lock.read_text() if lock.exists() else ""
    return Layer(f"{name} dependencies", (content,), build)


def _package(name: str, only: Sequence[str]) -> Layer:
    parts = [part for part in only if (PACKAGE / part).exists()]

    def build(scratch: Path, below: Sequence[Blob]) -> list[Entry]:
        root = scratch / "root"
        python.copy_package(PACKAGE, root / python.LIBRARY.lstrip("/"), parts)
        return _compiled(root, python.LIBRARY, below)

    return Layer(name, (hash_files(python.package_files(PACKAGE, parts), PACKAGE),), build)


def _with_folder(base: Recipe, name: str, folder: Path, module: str) -> Recipe:
    """``base`` with one folder's code at /opt/thingvisor, on the import path; it runs ``module``."""
    files = [
        path
        for path in python.package_files(folder)
        if not set(path.relative_to(folder).parts).intersection(FOLDER_EXCLUDED)
    ]

    def build(scratch: Path, below: Sequence[Blob]) -> list[Entry]:
        root = scratch / "root"
        for path in files:
            target = root / THINGVISOR_HOME.lstrip("/") / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        return _compiled(root, THINGVISOR_HOME, below)

    environment = {**python.ENVIRONMENT, "PYTHONPATH": f"{THINGVISOR_HOME}:{python.ENVIRONMENT['PYTHONPATH']}"}
    entrypoint = [*base.config.entrypoint, "-m", module]
    config = replace(base.config, entrypoint=entrypoint, env=environment, workdir=THINGVISOR_HOME)
    return Recipe(name, (*base.layers, Layer(name, (hash_files(files, folder),), build)), config)


def _compiled(root: Path, folder: str, below: Sequence[Blob]) -> list[Entry]:
    python.compile_tree(root, folder, _interpreter(below))
    return python.tree(root, folder)


def _interpreter(layers: Sequence[Blob]) -> Path:
    """The two Debian layers at the bottom as a tree, kept beside the layers: enough to run the image's Python."""
    name = layers[1].path.name
    tree = layers[1].path.parents[1] / "interpreter" / name[:12]
    if not tree.exists():
        temporary = _extract(layers[:2], tree.with_name(f".{name}-{os.getpid()}"))
        temporary.rename(tree)
    return tree


def _python_image(*arguments: str) -> ImageConfig:
    return ImageConfig(entrypoint=["/usr/bin/python3", *arguments], env=python.ENVIRONMENT)


def _extract(layers: Sequence[Blob], root: Path) -> Path:
    root.mkdir(parents=True)
    for blob in layers:
        with tarfile.open(blob.path) as tar:
            tar.extractall(root, filter="fully_trusted")
    return root
