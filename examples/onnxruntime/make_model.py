"""Makes the model that the other examples run: regions of a feature map, pooled twice.

python make_model.py model.onnx

It needs vinfer and onnx; what it writes needs neither. The nodes carry bodies of standard
operators, so that any ONNX Runtime from 1.17 on runs it, with vinfer's library or without.
"""

import argparse

import onnx
from onnx import TensorProto, helper

from vinfer.export import attach_functions


def make_model() -> onnx.ModelProto:
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", "C", "H", "W"])
    boxes = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["R", 4])
    batch_indices = helper.make_tensor_value_info("batch_indices", TensorProto.INT64, ["R"])
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["R", "C", 7, 7])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["R", "C"])
    roi_align = helper.make_node(
        "RoiAlign",
        ["features", "boxes", "batch_indices"],
        ["pooled"],
        name="roi_align",
        domain="vinfer",
        output_height=7,
        output_width=7,
        sampling_ratio=2,
        spatial_scale=1 / 16,  # a float: an integer such as 1 is refused
    )
    weldon_pool = helper.make_node(
        "WeldonPool",
        ["pooled"],
        ["embedding"],
        name="weldon_pool",
        domain="vinfer",
        k_max=4,
        k_min=4,
        alpha=0.5,
    )
    graph = helper.make_graph(
        [roi_align, weldon_pool],
        "regions",
        [features, boxes, batch_indices],
        [pooled, embedding],
    )
    opset = helper.make_opsetid("", 17)
    return attach_functions(helper.make_model(graph, opset_imports=[opset]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the model that the other examples run.")
    parser.add_argument("model", help="file to write")
    onnx.save(make_model(), parser.parse_args().model)
