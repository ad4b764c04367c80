"""The factored relation graph as a PyTorch module, so that `torch.compile` can have a go at it.

Knows the operators of these graphs and no others. What decides shapes, the unordered pairs and
their number, is computed first, outside of what is compiled: a compiler can't specialise on it.
RoiAlign is vinfer's kernel here, too, since PyTorch without torchvision has none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

from vinfer.training import torch_ops

Step = tuple[Callable[..., Any], list[str], list[str]]


class GraphInTorch(nn.Module):
    """Called with the graph's inputs in its order; gives its only output."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        graph = model.graph
        self._inputs = [value.name for value in graph.input]
        self._output = graph.output[0].name
        before = _ancestors(graph, "Unique")
        steps = [
            (_function(node), list(node.input), list(node.output), number in before)
            for number, node in enumerate(graph.node)
        ]
        self._first: list[Step] = [step[:3] for step in steps if step[3]]
        self._rest: Any = _Steps([step[:3] for step in steps if not step[3]], self._output)
        self._constants: dict[str, Any] = {}
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            # Integers say which part of something is meant: numbers, to the compiler.
            is_index = array.dtype == "int64"
            value = array.tolist() if is_index else torch.from_numpy(array.copy())
            self._constants[tensor.name] = value
            self._rest.keep(tensor.name, value)

    def compiled(self) -> GraphInTorch:
        """The same with everything behind the unordered pairs compiled, for fixed shapes."""
        self._rest = torch.compile(self._rest, dynamic=False, fullgraph=True)
        return self

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        values: dict[str, Any] = dict(zip(self._inputs, inputs, strict=True))
        known = _run(self._first, self._constants | values)
        made = {name: known[name] for _, _, outputs in self._first for name in outputs if name}
        result: torch.Tensor = self._rest(values | made)
        return result


class _Steps(nn.Module):
    def __init__(self, steps: list[Step], output: str) -> None:
        super().__init__()
        self._steps = steps
        self._output = output
        self._needed = {name for _, inputs, _ in steps for name in inputs}
        self._names: dict[str, str] = {}

    def keep(self, name: str, value: Any) -> None:
        if name not in self._needed:
            return
        held = f"_constant_{len(self._names)}"
        if isinstance(value, torch.Tensor):
            self.register_buffer(held, value)
        else:
            setattr(self, held, value)
        self._names[name] = held

    def forward(self, values: dict[str, Any]) -> torch.Tensor:
        constants = {name: getattr(self, held) for name, held in self._names.items()}
        result: torch.Tensor = _run(self._steps, constants | values)[self._output]
        return result


def _run(steps: list[Step], values: dict[str, Any]) -> dict[str, Any]:
    for function, inputs, outputs in steps:
        found = function(*(values[name] if name else None for name in inputs))
        if len(outputs) == 1:
            found = (found,)
        for name, value in zip(outputs, found, strict=True):
            values[name] = value
    return values


def _ancestors(graph: Any, op_type: str) -> set[int]:
    """Places of the nodes of a type and of all that they need."""
    needed: set[str] = set()
    found: set[int] = set()
    for number, node in reversed(list(enumerate(graph.node))):
        if node.op_type == op_type or needed.intersection(node.output):
            needed.update(node.input)
            found.add(number)
    return found


def _function(node: Any) -> Callable[..., Any]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type not in _OPERATORS:
        raise SystemExit(f"{node.op_type}: benchmarks/graph_in_torch.py does not know it")
    return functools.partial(_OPERATORS[node.op_type], attributes)


def _padded(x: Any, pads: list[int], value: float) -> tuple[Any, list[int]]:
    """As symmetric padding where that is possible, since convolutions do it themselves."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return x, [top, left]
    return functional.pad(x, (left, right, top, bottom), value=value), [0, 0]


def _conv(attributes: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    x, padding = _padded(x, attributes.get("pads", [0] * 4), 0.0)
    return functional.conv2d(
        x,
        weight,
        bias,
        attributes.get("strides", [1, 1]),
        padding,
        attributes.get("dilations", [1, 1]),
        attributes.get("group", 1),
    )


def _max_pool(attributes: Any, x: Any) -> Any:
    x, padding = _padded(x, attributes.get("pads", [0] * 4), -torch.inf)
    return functional.max_pool2d(x, attributes["kernel_shape"], attributes["strides"], padding)


def _roi_align(attributes: Any, features: Any, rois: Any, indices: Any) -> Any:
    return torch_ops.roi_align(
        features,
        rois,
        indices,
        [attributes["output_height"], attributes["output_width"]],
        attributes["spatial_scale"],
        attributes["sampling_ratio"],
        attributes["coordinate_transformation_mode"] == b"half_pixel",
    )


def _gather(attributes: Any, table: Any, index: Any) -> Any:
    axis = attributes.get("axis", 0)
    if isinstance(index, int):
        return table.select(axis, index)
    return table.index_select(axis, index)


def _slice(attributes: Any, x: Any, begin: Any, end: Any, axes: Any) -> Any:
    (first,), (last,), (axis,) = (_numbers(each) for each in (begin, end, axes))
    if isinstance(x, list):
        return x[first:last]
    size = x.shape[axis]
    first, last = min(first, size), min(last, size)
    return x.narrow(axis, first, last - first)


def _numbers(value: Any) -> list[int]:
    return value if isinstance(value, list) else list(value.tolist())


def _scalar(value: Any) -> Any:
    """A shape's single number as such, anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _unique(attributes: Any, x: Any) -> Any:
    values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
    return values, None, inverse, counts


def _gemm(attributes: Any, a: Any, b: Any, c: Any) -> Any:
    return torch.addmm(c, a, b.T if attributes.get("transB") else b)


def _integer_or_true_division(attributes: Any, a: Any, b: Any) -> Any:
    a, b = _scalar(a), _scalar(b)
    if a.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


def _reduce_mean(attributes: Any, x: Any, axes: Any) -> Any:
    return x.mean(_numbers(axes), keepdim=bool(attributes.get("keepdims", 1)))


_OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": lambda _, a, b: a + b,
    # Not clamp: with bounds that are tensors inductor fails to compile it (PyTorch 2.13).
    "Clip": lambda _, x, low, high: torch.minimum(torch.maximum(x, low), high),
    "Concat": lambda attributes, *parts: torch.cat(parts, attributes["axis"]),
    "Conv": _conv,
    "Div": _integer_or_true_division,
    "Gather": _gather,
    "Gemm": _gemm,
    "GreaterOrEqual": lambda _, a, b: a >= b,
    "MatMul": lambda _, a, b: a @ b,
    "Max": lambda _, a, b: torch.maximum(a, b),
    "MaxPool": _max_pool,
    "Min": lambda _, a, b: torch.minimum(a, b),
    "Mod": lambda _, a, b: a % _scalar(b),
    "Mul": lambda _, a, b: a * _scalar(b),
    "ReduceMean": _reduce_mean,
    "Relu": lambda _, x: functional.relu(x),
    "Reshape": lambda _, x, shape: x.reshape(_numbers(shape)),
    "RoiAlign": _roi_align,
    "Shape": lambda _, x: list(x.shape),
    "Slice": _slice,
    "Sub": lambda _, a, b: a - b,
    "Unique": _unique,
    "Where": lambda _, condition, a, b: torch.where(condition, a, b),
}
