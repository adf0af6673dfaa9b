"""The image builder: the same inputs give the same digest, archives are what OCI says, layers are built once."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cluster.images import __main__ as command
from cluster.images import catalogue, oci
from cluster.images.oci import Blob, Entry, ImageConfig, directory
from cluster.images.recipe import Cache, Layer, Recipe

ENTRIES = [
    Entry("/usr/bin/tool", mode=0o755, source=b"#!/bin/sh\n"),
    Entry("/bin", symlink="usr/bin"),
    Entry("/usr/bin/again", hardlink="/usr/bin/tool"),
    directory("/var/lib/broker", 0o700, owner=1883),
]


def blobs_of(archive: Path) -> dict[str, bytes]:
    """Every file of an archive by name, read to the end."""
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def test_a_layer_depends_on_its_entries_and_not_on_their_order(tmp_path: Path) -> None:
    first = oci.write_layer(ENTRIES, tmp_path / "a")
    second = oci.write_layer(list(reversed(ENTRIES)), tmp_path / "b")
    assert first.digest == second.digest
    assert first.digest == "sha256:" + hashlib.sha256(first.path.read_bytes()).hexdigest()


def test_a_layer_carries_no_time_no_names_and_every_parent(tmp_path: Path) -> None:
    with tarfile.open(oci.write_layer(ENTRIES, tmp_path).path) as tar:
        members = {member.name: member for member in tar}
    assert {member.mtime for member in members.values()} == {0}
    assert {member.uname + member.gname for member in members.values()} == {""}
    assert members["usr"].isdir()
    assert members["usr"].mode == 0o755
    assert (members["var/lib/broker"].uid, members["var/lib/broker"].mode) == (1883, 0o700)
    assert list(members)[-1] == "usr/bin/again"  # after its target


def test_two_entries_for_one_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two entries claim /usr/bin/tool"):
        oci.write_layer([*ENTRIES, Entry("/usr/bin/tool", source=b"other")], tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_archive_is_an_oci_layout_whose_digests_hold(tmp_path: Path) -> None:
    archive = tmp_path / "pause.tar"
    config = ImageConfig(entrypoint=["/pause"], env={"B": "2", "A": "1"})
    image = oci.scratch_image(archive, "localhost/tephra/pause:1", {"/pause": b"\x7fELF"}, config)
    files = blobs_of(archive)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert name.rsplit("/", 1)[1] == hashlib.sha256(content).hexdigest()
    manifest = json.loads(files["blobs/" + image.digest.replace(":", "/")])
    runtime = json.loads(files["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    assert runtime["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert runtime["config"] == {
        "User": "65532:65532",
        "Env": ["A=1", "B=2"],
        "Entrypoint": ["/pause"],
        "WorkingDir": "/",
    }
    assert oci.read_reference(archive) == ("localhost/tephra/pause:1", image.digest)


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed (apt-get install skopeo)")
def test_another_implementation_reads_the_archive(tmp_path: Path) -> None:
    archive = tmp_path / "pause.tar"
    image = oci.scratch_image(archive, "localhost/tephra/pause:1", {"/pause": b"\x7fELF"}, ImageConfig())
    seen = subprocess.run(["skopeo", "inspect", f"oci-archive:{archive}"], capture_output=True, check=True, text=True)
    assert json.loads(seen.stdout)["Digest"] == image.digest


class Counted:
    """A layer that counts how often it is built."""

    def __init__(self, name: str, content: bytes) -> None:
        self.builds = 0
        self.content = content
        self.layer = Layer(name, (content.decode(),), self._build)

    def _build(self, scratch: Path, below: Sequence[Blob]) -> list[Entry]:
        self.builds += 1
        return [Entry(f"/{self.layer.name}", source=self.content)]


def test_a_layer_is_built_once_and_shared(tmp_path: Path) -> None:
    base, top = Counted("base", b"1"), Counted("top", b"1")
    cache = Cache(tmp_path)
    small = cache.image(Recipe("small", (base.layer,), ImageConfig()))
    large = cache.image(Recipe("large", (base.layer, top.layer), ImageConfig()))
    Cache(tmp_path).image(Recipe("large", (base.layer, top.layer), ImageConfig()))
    assert (base.builds, top.builds) == (1, 1)
    assert large.layers[0] == small.layers[0]


def test_a_change_below_builds_what_is_above_again(tmp_path: Path) -> None:
    top, cache = Counted("top", b"1"), Cache(tmp_path)
    for content in (b"1", b"2"):
        cache.image(Recipe("image", (Counted("base", content).layer, top.layer), ImageConfig()))
    assert top.builds == 2


def test_the_tag_follows_the_content_and_an_unchanged_archive_stays(tmp_path: Path) -> None:
    def build(content: bytes) -> command.Built:
        recipe = Recipe("thing", (Counted("layer", content).layer,), ImageConfig())
        return command.build([recipe], Cache(tmp_path / "cache"), tmp_path / "out")[0]

    first, again, changed = build(b"1"), build(b"1"), build(b"2")
    assert (first.fresh, again.fresh, changed.fresh) == (True, False, True)
    assert first.tag == again.tag != changed.tag
    assert oci.read_reference(changed.archive)[0] == f"localhost/tephra/thing:{changed.tag}"
    assert f'  thing:\n    repository: tephra/thing\n    tag: "{changed.tag}"' in command.values([changed])


def test_an_unknown_image_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["build", "nonesuch"]) == 1
    error = capsys.readouterr().err
    assert "no image is called nonesuch" in error
    assert "mosquitto" in error


def test_our_own_layers_are_reproducible(tmp_path: Path) -> None:
    folder = Path(os.environ.get("TEPHRA_CACHE") or Path.home() / ".cache/tephra")
    recipe = catalogue.recipes(folder)["silo"]
    if not (folder / "layers/keys").exists():
        pytest.skip("the Debian layers are not built yet: make images")
    interpreter = Cache(folder / "layers").image(Recipe("python", recipe.layers[:2], ImageConfig())).layers
    code = recipe.layers[-1]
    digests = set()
    for attempt in ("first", "second"):
        (tmp_path / attempt).mkdir()
        digests.add(oci.write_layer(code.build(tmp_path / attempt, interpreter), tmp_path).digest)
    assert len(digests) == 1


# --- the broker's entrypoint ------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts tephra-mosquitto on a socket in ``tmp_path``, watching ``tmp_path``/secret; returns when it runs."""
    if missing := [tool for tool in ("mosquitto", "inotifywait") if not shutil.which(tool, path=SEARCH)]:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install mosquitto inotify-tools)")
    started: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def start() -> subprocess.Popen[str]:
        swap(tmp_path / "secret", "tls.crt", "first")
        (tmp_path / "mosquitto.conf").write_text(f"user root\nlistener 0 {tmp_path}/socket\nallow_anonymous true\n")
        process = subprocess.Popen(
            [catalogue.ROOT / "cluster/images/files/tephra-mosquitto", "-c", tmp_path / "mosquitto.conf"],
            env={"PATH": SEARCH, "TEPHRA_WATCH": str(tmp_path / "secret"), "TEPHRA_RESTART_ON": "tls.crt"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        watchdog = threading.Timer(20, end, [process])  # ends a read that would wait for ever
        watchdog.start()
        started.append((process, watchdog))
        read_until(process, "running", "mosquitto: reload")  # the second when the watches stand
        return process

    yield start
    for process, watchdog in started:
        watchdog.cancel()
        end(process)
        process.wait()


def end(process: subprocess.Popen[str]) -> None:
    """Ends the whole group: the watcher outlives the script outside a container."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


SEARCH = "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"


def read_until(process: subprocess.Popen[str], *words: str) -> None:
    """Reads what the broker says until each word was seen, in any order."""
    assert process.stderr is not None
    missing = set(words)
    for line in process.stderr:
        missing -= {word for word in missing if word in line}
        if not missing:
            return
    raise AssertionError(f"the broker ended before it said {missing}")


def swap(secret: Path, name: str, content: str) -> None:
    """Replaces the files of a mounted Secret as the kubelet's atomic writer does, by renaming a link."""
    version = secret / f"..{content}"
    version.mkdir(parents=True)
    (version / name).write_text(content)
    (secret / "..data_tmp").symlink_to(version.name)
    (secret / "..data_tmp").rename(secret / "..data")
    (secret / name).unlink(missing_ok=True)
    (secret / name).symlink_to(f"..data/{name}")


def test_the_broker_reloads_when_a_mounted_secret_is_swapped(
    broker: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = broker()
    (tmp_path / "secret/passwords").write_text("tenant:x")
    read_until(process, "mosquitto: reload")
    read_until(process, "Reloading config")


def test_the_broker_starts_again_when_a_file_changes_that_it_reads_at_its_start(
    broker: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = broker()
    swap(tmp_path / "secret", "tls.crt", "second")
    read_until(process, "mosquitto: restart")
    read_until(process, "running")


def test_the_broker_ends_on_term_with_mosquittos_status(
    broker: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = broker()
    (tmp_path / "secret/passwords").write_text("tenant:x")
    read_until(process, "Reloading config")  # its main loop is at work: it forgets a TERM that comes just before
    process.terminate()
    assert process.wait(10) == 0


def test_a_broker_that_cannot_start_says_so_in_its_status(tmp_path: Path) -> None:
    if not shutil.which("mosquitto", path=SEARCH):
        pytest.skip("mosquitto is not installed")
    done = subprocess.run(
        [catalogue.ROOT / "cluster/images/files/tephra-mosquitto", "-c", tmp_path / "absent.conf"],
        env={"PATH": SEARCH},
        capture_output=True,
        check=False,
        timeout=10,
    )
    assert done.returncode != 0
