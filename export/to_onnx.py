"""PyTorch modules to ONNX files that run with vinfer's kernels and without them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vinfer.errors import BackendError, InputError, MissingDependencyError
from vinfer.export.functions import DOMAIN, MIN_OPSET, VERSION, attach_functions, make_function

if TYPE_CHECKING:
    import onnx
    import torch

TENSOR_TYPES = ["tensor(float)", "tensor(float16)", "tensor(int64)", "tensor(uint8)"]
OPSETS = (18, 19, 20)  # those that both PyTorch writes and ONNX Runtime 1.17 reads

# Where PyTorch writes source lines and the paths of the machine that exports: nobody else's matter.
STACK_TRACE = "pkg.torch.onnx.stack_trace"


def to_onnx(
    model: torch.nn.Module,
    args: tuple[Any, ...],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_shapes: Any = None,
    opset: int = OPSETS[0],
) -> onnx.ModelProto:
    """Export a module; its calls of `torch.ops.vinfer` become nodes with bodies.

    Args:
        model: exported as it is: call ``eval()`` before, for layers that differ in training.
        args: example inputs.
        input_names, output_names: of the graph, in order.
        dynamic_shapes: which axes may vary, as `torch.export.export` takes it.
        opset: 18 to 20.

    Returns:
        A model of IR version 9 that any ONNX Runtime from 1.17 on runs, and one with vinfer's
        library by its kernels. It was not run: compare it with the module on inputs of your own.

    Raises:
        InputError: ``opset`` is another one, there are more or fewer names than inputs or outputs,
            or a setting of an op is one that its kernel refuses.
        BackendError: PyTorch can't export the module.
        MissingDependencyError: PyTorch, onnx or onnxscript is not installed.
    """
    if opset not in OPSETS:
        raise InputError(f"opset: found {opset}, expected {OPSETS[0]} to {OPSETS[-1]}")
    try:
        import torch

        translations = _translations()
    except ImportError as exc:
        raise MissingDependencyError.of("PyTorch or onnxscript", "train", exc) from exc
    with warnings.catch_warnings():
        # PyTorch 2.13 warns of its own use of a class, and of axes that share one name.
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        warnings.filterwarnings("ignore", ".*shares the same shape constraints", UserWarning)
        registration = logging.getLogger("torch.onnx._internal.exporter._registration")
        registration.addFilter(_is_not_about_torchvision)
        try:
            program = torch.onnx.export(
                model,
                args,
                dynamo=True,
                input_names=input_names,
                output_names=output_names,
                dynamic_shapes=dynamic_shapes,
                opset_version=opset,
                custom_translation_table=translations,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as exc:
            raise BackendError(f"PyTorch can't export the module: {_first_cause(exc)}") from exc
        finally:
            registration.removeFilter(_is_not_about_torchvision)
    assert program is not None  # PyTorch gives none only where it writes a file itself
    for node in program.model.graph.all_nodes():
        node.metadata_props.pop(STACK_TRACE, None)
    exported = program.model_proto
    for kind, names, values in (
        ("input", input_names, exported.graph.input),
        ("output", output_names, exported.graph.output),
    ):
        if len(names) != len(values):  # PyTorch names as many as it can, without a word
            raise InputError(
                f"{kind}_names: found {len(names)}, expected {len(values)}, as many as the graph "
                f"has {kind}s: {', '.join(value.name for value in values)}"
            )
    return attach_functions(exported)


def _is_not_about_torchvision(record: logging.LogRecord) -> bool:
    """PyTorch tells four times that it is not installed; no graph here has an op of it."""
    return "torchvision is not installed" not in record.getMessage()


def _first_cause(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _first_cause(error.__cause__)


def _translations() -> dict[Any, Callable[..., Any]]:
    """From each op of PyTorch to what writes its node."""
    import torch
    from onnxscript import values

    import vinfer.training.torch_ops  # noqa: F401 (registers the ops)

    domain = values.Opset(DOMAIN, VERSION)

    def node(name: str) -> Any:
        return values.Op(domain, name, _schema(name))

    def fixed(name: str, side: Any) -> int:
        if not isinstance(side, int):
            raise InputError(
                f"{name}: found a size that follows from an input's, expected numbers, which a "
                "node keeps as attributes"
            )
        return side

    # onnxscript reads these signatures: what has the type of a number or text is an attribute.
    def roi_align(
        features: Any,
        boxes: Any,
        batch_indices: Any,
        output_size: Sequence[int],
        spatial_scale: float,
        sampling_ratio: int = 0,
        aligned: bool = True,
    ) -> Any:
        return node("RoiAlign")(
            features,
            boxes,
            batch_indices,
            output_height=fixed("output_size", output_size[0]),
            output_width=fixed("output_size", output_size[1]),
            sampling_ratio=sampling_ratio,
            spatial_scale=spatial_scale,
            coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        )

    def positional_maps(boxes: Any, reference: Any, size: Sequence[int]) -> Any:
        return node("PositionalMaps")(
            boxes, reference, height=fixed("size", size[0]), width=fixed("size", size[1])
        )

    def weldon_pool(x: Any, k_max: int, k_min: int, alpha: float = 1.0) -> Any:
        return node("WeldonPool")(x, k_max=k_max, k_min=k_min, alpha=alpha)

    def letterbox(
        image: Any,
        size: Sequence[int],
        mode: str = "pad",
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        pad_value: float = 114.0,
        layout: str = "chw",
        align: str = "center",
        rounding: str = "nearest",
        swap_channels: bool = False,
    ) -> Any:
        return node("Letterbox")(
            image,
            height=fixed("size", size[0]),
            width=fixed("size", size[1]),
            mode=mode,
            mean=mean,
            std=std,
            pad_value=pad_value,
            layout=layout,
            align=align,
            rounding=rounding,
            swap_channels=int(swap_channels),
        )

    ops = torch.ops.vinfer
    return {
        ops.roi_align.default: roi_align,
        ops.positional_maps.default: positional_maps,
        ops.weldon_pool.default: weldon_pool,
        ops.letterbox.default: letterbox,
    }


def _schema(name: str) -> onnx.defs.OpSchema:
    """onnxscript writes no node without one; it leaves types to PyTorch, which knows them."""
    from onnx.defs import OpSchema

    function = make_function(name, MIN_OPSET)
    values = [*function.input, *function.output]
    parameters = {value: OpSchema.FormalParameter(value, f"T_{value}") for value in values}
    return OpSchema(
        name,
        DOMAIN,
        VERSION,
        inputs=[parameters[value] for value in function.input],
        outputs=[parameters[value] for value in function.output],
        type_constraints=[(f"T_{value}", TENSOR_TYPES, "") for value in values],
        attributes=[OpSchema.Attribute(each.name, each, "") for each in function.attribute_proto],
    )
