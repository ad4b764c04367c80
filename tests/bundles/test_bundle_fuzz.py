"""Damaged bundles: whatever the bytes, a BundleError or the bundle as it was, nothing else."""

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vinfer.bundles import Bundle, parse_manifest
from vinfer.errors import BundleError, BundleSchemaError

_settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def opens_as_before_or_is_refused(path: Path, digest: str, files: dict[str, bytes]) -> None:
    try:
        bundle = Bundle.open(path)
    except BundleError:
        return
    assert bundle.digest == digest
    assert {name: bundle.read(name) for name in bundle.manifest.files} == files


@_settings
@given(data=st.data())
def test_flipped_bytes(data: st.DataObject, packed: Path, files: dict[str, bytes]) -> None:
    sound = packed.read_bytes()
    digest = Bundle.open(packed).digest
    position = st.integers(0, len(sound) - 1)
    # Most bytes are the graph's; the zip's own structures and the manifest stand at both ends.
    structure = st.one_of(st.integers(0, 1200), st.integers(len(sound) - 260, len(sound) - 1))
    flips = data.draw(
        st.lists(
            st.tuples(st.one_of(position, structure), st.integers(1, 255)), min_size=1, max_size=4
        )
    )
    damaged = bytearray(sound)
    for at, mask in flips:
        damaged[at] ^= mask
    path = packed.with_name("damaged.vinfer")
    path.write_bytes(damaged)
    opens_as_before_or_is_refused(path, digest, files)


@_settings
@given(data=st.data())
def test_cut_or_padded(data: st.DataObject, packed: Path, files: dict[str, bytes]) -> None:
    sound = packed.read_bytes()
    digest = Bundle.open(packed).digest
    start, end = sorted(
        (data.draw(st.integers(0, len(sound))), data.draw(st.integers(0, len(sound))))
    )
    damaged = data.draw(st.sampled_from([sound[:end], sound[start:], sound[:start] + sound[end:]]))
    path = packed.with_name("damaged.vinfer")
    path.write_bytes(damaged + data.draw(st.binary(max_size=30)))
    opens_as_before_or_is_refused(path, digest, files)


@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_one_flip_in_the_graph_is_always_found(at: str, folder: Path) -> None:
    graph = bytearray((folder / "model.onnx").read_bytes())
    graph[{"first": 0, "middle": len(graph) // 2, "last": -1}[at]] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    with pytest.raises(BundleError, match=hashlib.sha256(graph).hexdigest()[:12]):
        Bundle.open(folder)


@_settings
@given(data=st.data())
def test_changed_manifest_text(data: st.DataObject, folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    insert = data.draw(st.one_of(st.text(max_size=10), st.sampled_from(["1e999", "NaN", "[[[["])))
    changed = text[:start] + insert + text[end:]
    with contextlib.suppress(BundleSchemaError):
        parse_manifest(changed.encode(errors="surrogatepass"))
