"""How an image is put together: ordered layers, each a function of named inputs, each built once.

A layer's key is the hash of its inputs, of the layers below it and of this builder's source; its blob is kept
in the cache under its own digest, so images share what they have in common and an unchanged build only looks
keys up. ``catalogue`` says which images there are; ``oci`` writes the bytes.
"""

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache as memoised
from pathlib import Path

from cluster.images.oci import Blob, Entry, Image, ImageConfig, compose, write_layer

Build = Callable[[Path, Sequence[Blob]], Iterable[Entry]]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Layer:
    """A layer: ``build`` gets a scratch folder and the layers below, and must depend on nothing but ``inputs``."""

    name: str
    inputs: tuple[str, ...]
    build: Build


@dataclass(frozen=True)
class Recipe:
    """An image by its short name: layers, lowest first, and what the runtime is told."""

    name: str
    layers: tuple[Layer, ...]
    config: ImageConfig


class Cache:
    """Built layers on disk: ``keys/<key>.json`` names a blob in ``sha256/``."""

    def __init__(self, folder: Path, report: Report = lambda _: None) -> None:
        self.folder = folder
        self._report = report

    def image(self, recipe: Recipe) -> Image:
        """The recipe's image; layers that are missing are built."""
        blobs: list[Blob] = []
        for layer in recipe.layers:
            blobs.append(self._layer(layer, tuple(blobs)))
        return compose(blobs, recipe.config)

    def _layer(self, layer: Layer, below: tuple[Blob, ...]) -> Blob:
        record = self.folder / "keys" / f"{_key(layer, below)}.json"
        if found := self._look_up(record):
            return found
        with _locked(self.folder):
            return self._look_up(record) or self._make(layer, below, record)

    def _look_up(self, record: Path) -> Blob | None:
        if not record.exists():
            return None
        digest = json.loads(record.read_text())["digest"]
        path = self.folder / "sha256" / digest.removeprefix("sha256:")
        return Blob(digest, path.stat().st_size, path) if path.exists() else None

    def _make(self, layer: Layer, below: tuple[Blob, ...], record: Path) -> Blob:
        self._report(f"layer {layer.name} …")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tephra-layer-") as scratch:
            blob = write_layer(layer.build(Path(scratch), below), self.folder / "sha256")
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"layer": layer.name, "digest": blob.digest}))
        self._report(f"layer {layer.name}: {blob.size / 1e6:.1f} MB in {time.monotonic() - started:.1f} s")
        return blob


def hash_files(paths: Iterable[Path], root: Path) -> str:
    """One hash of the files' names (relative to ``root``), executable bits and contents, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root)}\0{os.access(path, os.X_OK)}\0{content}\n".encode())
    return total.hexdigest()


def _key(layer: Layer, below: Sequence[Blob]) -> str:
    parts = [_builder(), layer.name, *layer.inputs, *(blob.digest for blob in below)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


@memoised
def _builder() -> str:
    """The builder's own source, but for its command line, is an input of every layer."""
    folder = Path(__file__).parent
    return hash_files(sorted(set(folder.glob("*.py")) - {folder / "__main__.py"}), folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One builder at a time per cache; the second finds the first one's layers."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
