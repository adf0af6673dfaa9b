"""Writes container images as OCI archives, without a container engine: same inputs, same digest.

A layer is a plain tar whose entries are sorted and carry no time, user or group name; an image is
layers, a config and a manifest; an archive is an OCI image layout in one tar, which ``ctr images import``,
kind, k3s, podman and skopeo read. ``recipe`` decides what goes into a layer; the launcher in ``cluster`` uses
``scratch_image`` for images that hold one static binary.

Source: OCI image format specification 1.0 (image-layout.md, manifest.md, config.md, layer.md).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Entry:
    """One path of a layer. ``path`` is absolute in the image.

    Exactly one of ``source`` (a file's bytes, or the file on disk that holds them), ``symlink`` and
    ``hardlink`` is given; none of them makes a directory.
    """

    path: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    source: bytes | Path | None = None
    symlink: str | None = None
    hardlink: str | None = None

    @property
    def is_directory(self) -> bool:
        return self.source is None and self.symlink is None and self.hardlink is None


def directory(path: str, mode: int = 0o755, owner: int = 0) -> Entry:
    """A directory owned by user and group ``owner``."""
    return Entry(path, mode=mode, uid=owner, gid=owner)


@dataclass(frozen=True)
class Blob:
    """Bytes known by their digest (``sha256:…``); ``path`` is the file that holds them."""

    digest: str
    size: int
    path: Path


@dataclass(frozen=True)
class ImageConfig:
    """What the runtime is told when it starts the image (OCI config.md, ``config`` and ``architecture``)."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "65532:65532"
    workdir: str = "/"
    ports: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"


@dataclass(frozen=True)
class Image:
    """The blobs of one image; ``manifest.digest`` is what a registry calls the image's digest."""

    layers: tuple[Blob, ...]
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def size(self) -> int:
        """Bytes of all layers, not compressed."""
        return sum(layer.size for layer in self.layers)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# --- layers -----------------------------------------------------------------------------------------


def write_layer(entries: Iterable[Entry], folder: Path) -> Blob:
    """Writes one layer into ``folder`` under its own digest and returns it.

    Parents that no entry names are added as root's directories, mode 0755. Raises ``ValueError`` when two
    entries claim one path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".layer-{os.getpid()}"
    try:
        with temporary.open("wb") as raw:
            hashing = _HashingWriter(raw)
            with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                for entry in _with_parents(entries):
                    _add(tar, entry)
        final = folder / hashing.sha256.hexdigest()
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
    return Blob("sha256:" + final.name, final.stat().st_size, final)


def _with_parents(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries in path order, hard links last (their target has to be there first), parents included."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        path = str(PurePosixPath("/") / entry.path)
        if path in by_path and not (entry.is_directory and by_path[path].is_directory):
            raise ValueError(f"layer: two entries claim {path}; drop one of them")
        by_path[path] = entry
    for path in list(by_path):
        for parent in PurePosixPath(path).parents:
            by_path.setdefault(str(parent), directory(str(parent)))
    by_path.pop("/", None)
    for path in sorted(by_path, key=lambda p: (by_path[p].hardlink is not None, p)):
        yield by_path[path]


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.path.strip("/"))
    info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.uid, entry.gid, 0
    if entry.symlink is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.symlink, 0o777
    elif entry.hardlink is not None:
        info.type, info.linkname = tarfile.LNKTYPE, entry.hardlink.strip("/")
    elif entry.is_directory:
        info.type = tarfile.DIRTYPE
    elif isinstance(entry.source, bytes):
        info.size = len(entry.source)
        tar.addfile(info, io.BytesIO(entry.source))
        return
    elif entry.source is not None:
        info.size = entry.source.stat().st_size
        with entry.source.open("rb") as content:
            tar.addfile(info, content)
        return
    tar.addfile(info)


class _HashingWriter:
    """A file object for ``tarfile`` that hashes what passes through it."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._raw.write(data)


# --- images -----------------------------------------------------------------------------------------


def compose(layers: Sequence[Blob], config: ImageConfig) -> Image:
    """The image of these layers, lowest first; nothing is written."""
    config_json = _json(
        {
            "created": EPOCH,
            "architecture": config.architecture,
            "os": "linux",
            "config": _runtime_config(config),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": EPOCH, "created_by": "cluster.images"} for _ in layers],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, digest_of(config_json), len(config_json)),
            "layers": [_descriptor(LAYER_TYPE, layer.digest, layer.size) for layer in layers],
        }
    )
    return Image(tuple(layers), config_json, manifest)


def write_archive(out: Path, image: Image, *references: str) -> None:
    """Writes ``image`` as an OCI archive that is imported under every one of ``references`` (host/path:tag)."""
    index = _json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [_index_entry(image, reference) for reference in references],
        }
    )
    blobs: dict[str, bytes | Path] = {layer.digest: layer.path for layer in image.layers}
    blobs |= {digest_of(data): data for data in (image.config, image.manifest)}
    entries = [Entry(f"/blobs/{digest.replace(':', '/')}", source=blob) for digest, blob in blobs.items()]
    entries.append(Entry("/index.json", source=index))
    entries.append(Entry("/oci-layout", source=_json({"imageLayoutVersion": "1.0.0"})))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}-{os.getpid()}")
    with tarfile.open(temporary, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in _with_parents(entries):
            _add(tar, entry)
    temporary.replace(out)


def _index_entry(image: Image, reference: str) -> dict[str, Any]:
    return {
        **_descriptor(MANIFEST_TYPE, image.digest, len(image.manifest)),
        "platform": {"os": "linux", "architecture": json.loads(image.config)["architecture"]},
        "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference,
        },
    }


def scratch_image(out: Path, reference: str, files: Mapping[str, bytes | Path], config: ImageConfig) -> Image:
    """An image of executables alone, path in the image → content, written to ``out`` as an OCI archive."""
    entries = [Entry(path, mode=0o755, source=source) for path, source in files.items()]
    layer = write_layer(entries, out.parent / ".layers")
    image = compose([layer], config)
    write_archive(out, image, reference)
    return image


def read_reference(archive: Path) -> tuple[str, str]:
    """The first reference and the manifest digest that an archive holds."""
    references, digest = read_references(archive)
    return references[0], digest


def read_references(archive: Path) -> tuple[list[str], str]:
    """Every reference that an archive gives its image, and the manifest digest."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("index.json")
        if member is None:
            raise ValueError(f"{archive}: not an OCI archive (no index.json); build it with cluster.images")
        manifests = json.load(member)["manifests"]
    return [entry["annotations"]["io.containerd.image.name"] for entry in manifests], manifests[0]["digest"]


def _runtime_config(config: ImageConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "User": config.user,
        "Env": [f"{key}={value}" for key, value in sorted(config.env.items())],
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "WorkingDir": config.workdir,
        "ExposedPorts": {port: {} for port in config.ports},
        "Labels": dict(sorted(config.labels.items())),
    }
    return {key: value for key, value in fields.items() if value}


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
