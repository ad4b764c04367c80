"""What is in a bundle, as data for `vinfer inspect`."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from vinfer.bundles.bundle import Bundle
from vinfer.errors import BundleError


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """Everything `vinfer inspect` shows, JSON-ready.

    Returns:
        ``path``, ``identity``, ``digest``, ``size`` (bytes of all files), ``files`` (name, size and
        sha256 of each), ``manifest`` (without its files), ``card`` (Markdown) and ``graph``: inputs
        and outputs as the manifest states them and, where the onnx package is installed,
        ``ir_version``, ``opsets``, ``producer``, ``num_nodes``, ``nodes`` (count by operator, most
        frequent first) and ``num_parameters``. Without it ``graph["note"]`` says how to get these.

    Raises:
        BundleError: the graph is not an ONNX model.
    """
    manifest = bundle.manifest
    fields = manifest.model_dump(mode="json", by_alias=True, exclude={"files"})
    return {
        "path": str(bundle.path),
        "identity": bundle.identity,
        "digest": bundle.digest,
        "size": sum(entry.size for entry in manifest.files.values()),
        "files": [
            {"name": name, "size": entry.size, "sha256": entry.sha256}
            for name, entry in sorted(manifest.files.items())
        ],
        "manifest": fields,
        "graph": {
            "name": manifest.graph,
            "inputs": fields["inputs"],
            "outputs": fields["outputs"],
            **_graph_facts(bundle),
        },
        "card": bundle.card(),
    }


def _graph_facts(bundle: Bundle) -> dict[str, Any]:
    try:
        import onnx
    except ImportError:
        return {"note": "operators and opset need onnx: pip install 'vinfer[export]'"}
    try:
        model = onnx.load_model_from_string(bundle.graph())
    except Exception as exc:  # protobuf's DecodeError, from a package without type stubs
        raise BundleError(
            f"{bundle.manifest.graph} of {bundle.identity} is not an ONNX model: {exc}"
        ) from exc
    nodes = Counter(
        f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        for node in model.graph.node
    )
    return {
        "ir_version": model.ir_version,
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "num_nodes": nodes.total(),
        "nodes": dict(nodes.most_common()),
        "num_parameters": sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
    }
