"""Gives nodes of domain `vinfer` bodies of standard operators, so that any ONNX Runtime runs them.

docs/function-bodies.md lists the nodes, their attributes and what a body can't do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from vinfer.errors import InputError, MissingDependencyError
from vinfer.export.function_bodies import (
    LETTERBOX,
    POSITIONAL_MAPS,
    ROI_ALIGN,
    WELDON_POOL,
    WINOGRAD_CONV,
)

if TYPE_CHECKING:
    import onnx

DOMAIN = "vinfer"
VERSION = 1
MIN_OPSET = 16  # RoiAlign with coordinate_transformation_mode
MAX_OPSET = {"RoiAlign": 21}  # ONNX Runtime 1.32 has no RoiAlign of opset 22
ML_DOMAIN = "ai.onnx.ml"
ML_VERSION = 3  # where the model does not say

# The newest IR version that ONNX Runtime 1.17 reads, and the oldest where attributes of functions
# have defaults. Models of opsets that 1.17 does not know may keep a newer one.
IR_VERSION = 9
MIN_IR_VERSION = 8  # functions
MAX_OPSET_OF_IR_VERSION = 20

# TensorRT finds the plugin of a node by these.
PLUGIN = {"plugin_namespace": "vinfer", "plugin_version": "1"}

BODIES = {
    "Letterbox": LETTERBOX,
    "PositionalMaps": POSITIONAL_MAPS,
    "RoiAlign": ROI_ALIGN,
    "WeldonPool": WELDON_POOL,
    "WinogradConv": WINOGRAD_CONV,
}

# What the kernels refuse when they run and a body can't, so that it is refused here.
CHOICES = {
    "align": ("center", "top_left"),
    "coordinate_transformation_mode": ("half_pixel", "output_half_pixel"),
    "layout": ("chw", "hwc"),
    "mode": ("pad", "stretch"),
    "rounding": ("nearest", "floor"),
}
MINIMA = {
    "height": 1,
    "k_max": 1,
    "k_min": 0,
    "output_height": 1,
    "output_width": 1,
    "sampling_ratio": 0,
    "width": 1,
}


def attach_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every node of domain `vinfer`, in subgraphs too, its body as a function of the model.

    The nodes stay, so that ONNX Runtime with vinfer's library and TensorRT with its plugins run the
    kernels, and any other ONNX Runtime from 1.17 on runs the bodies. Attaching again changes
    nothing.

    Args:
        model: opset 16 or later, IR version 8 or later. It is not changed.

    Returns:
        A copy with the functions, the import of the domain, the attributes by which TensorRT finds
        plugins, and IR version 9 (up to opset 20, where ONNX Runtime 1.17 ends).

    Raises:
        InputError: the model is too old, or a node of the domain is unknown, or an attribute of it
            is unknown or has a value that the kernels refuse.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as exc:
        raise MissingDependencyError.of("onnx", "export", exc) from exc

    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    opset = opsets.get("ai.onnx", 0)
    if opset < MIN_OPSET:
        raise InputError(
            f"model: found opset {opset}, expected {MIN_OPSET} or later; convert it with "
            "onnx.version_converter.convert_version"
        )
    if model.ir_version < MIN_IR_VERSION:
        raise InputError(
            f"model: found IR version {model.ir_version}, expected {MIN_IR_VERSION} or later, "
            "which opset 16 came with; set model.ir_version"
        )

    attached = onnx.ModelProto()
    attached.CopyFrom(model)
    for function in [each for each in attached.functions if each.domain == DOMAIN]:
        attached.functions.remove(function)

    functions: dict[str, onnx.FunctionProto] = {}
    for node in _all_nodes(attached):
        if node.domain != DOMAIN:
            continue
        if node.op_type not in BODIES:
            raise InputError(
                f'node "{node.name}": found {DOMAIN}::{node.op_type}, expected one of '
                f"{', '.join(sorted(BODIES))}"
            )
        if opset > MAX_OPSET.get(node.op_type, opset):
            raise InputError(
                f'node "{node.name}": found {DOMAIN}::{node.op_type} in a model of opset {opset}, '
                f"expected at most {MAX_OPSET[node.op_type]}, as ONNX Runtime has no newer one of "
                "the operators in its body; export with opset 18"
            )
        if node.op_type not in functions:
            functions[node.op_type] = make_function(
                node.op_type, opset, opsets.get(ML_DOMAIN, ML_VERSION)
            )
        _check_attributes(node, functions[node.op_type])
        _add_plugin_attributes(node)
    attached.functions.extend(functions[name] for name in sorted(functions))
    if functions and DOMAIN not in opsets:
        attached.opset_import.add(domain=DOMAIN, version=VERSION)
    if opset <= MAX_OPSET_OF_IR_VERSION or attached.ir_version < IR_VERSION:
        attached.ir_version = IR_VERSION
    return attached


def make_function(name: str, opset: int, ml_version: int = ML_VERSION) -> onnx.FunctionProto:
    """The body of a node; ``opset`` is the model's, as one file can't mix two."""
    import onnx.parser

    imports = [f'"": {opset}']
    if f"{ML_DOMAIN}." in BODIES[name]:
        imports.append(f'"{ML_DOMAIN}": {ml_version}')
    text = re.sub(r"^ *#.*\n", "", BODIES[name], flags=re.MULTILINE)
    function = onnx.parser.parse_function(
        f'<domain: "{DOMAIN}", opset_import: [{", ".join(imports)}]>{text}'
    )
    # ONNX Runtime 1.20 derives the names of fused nodes, which must differ, from these.
    for node in _nested(function.node):
        node.name = node.output[0]
    # Declared, as strict readers refuse an attribute that a function does not know.
    function.attribute_proto.extend(
        onnx.helper.make_attribute(key, value) for key, value in PLUGIN.items()
    )
    return function


def _all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from _nested(model.graph.node)
    for function in model.functions:
        yield from _nested(function.node)


def _nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _nested(attribute.g.node)
            for graph in attribute.graphs:
                yield from _nested(graph.node)


def _check_attributes(node: onnx.NodeProto, function: onnx.FunctionProto) -> None:
    import onnx

    declared = {attribute.name: attribute for attribute in function.attribute_proto}
    for attribute in node.attribute:
        name = attribute.name
        where = f'{DOMAIN}::{node.op_type} "{node.name}": {name}'
        if name not in declared:
            raise InputError(f"{where} is no attribute; expected some of {', '.join(declared)}")
        if attribute.type != declared[name].type:
            types = onnx.AttributeProto.AttributeType
            raise InputError(
                f"{where}: found type {types.Name(attribute.type)}, "
                f"expected {types.Name(declared[name].type)}"
            )
        if attribute.ref_attr_name:
            continue
        value: Any = onnx.helper.get_attribute_value(attribute)
        if name in CHOICES and value.decode() not in CHOICES[name]:
            listed = " or ".join(f'"{choice}"' for choice in CHOICES[name])
            raise InputError(f'{where}: found "{value.decode()}", expected {listed}')
        if name in MINIMA and value < MINIMA[name]:
            raise InputError(f"{where}: found {value}, expected at least {MINIMA[name]}")
        if attribute.type == onnx.AttributeProto.FLOATS and len(value) != 3:
            raise InputError(f"{where}: found {len(value)} numbers, expected three, one a channel")


def _add_plugin_attributes(node: onnx.NodeProto) -> None:
    import onnx

    present = {attribute.name for attribute in node.attribute}
    node.attribute.extend(
        onnx.helper.make_attribute(key, value)
        for key, value in PLUGIN.items()
        if key not in present
    )
