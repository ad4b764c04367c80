"""The share of the positional maps in the first pair convolution, as a small matrix product.

The maps are affine in the bin's index, so that the convolution of a map is a sum of fixed pictures,
which hold the effect of the zero padding, too.
"""

from __future__ import annotations

import numpy as np

from vinfer.export.added_nodes import AddedNodes
from vinfer.export.relation_pair import OBJECT, SUBJECT, UNION, Float64Array, PairConvolution
from vinfer.export.relation_unions import Unions

MIN_EXTENT = 1e-6  # of a union; below it positions are 0, as in vinfer.ops.positional_maps


def position_term(
    builder: AddedNodes, pair: PairConvolution, unions: Unions, bias: Float64Array
) -> str:
    """``[m, K, h, w]`` from the coefficients of the positional maps, and the bias."""
    height, width = pair.bins
    if not pair.map_offsets:
        return builder.constant(bias.reshape(1, -1, 1, 1), np.float32)
    subject = builder.gather("boxes", unions.subject)
    object_ = builder.gather("boxes", unions.object)
    around = builder.gather(unions.boxes, unions.index)
    low = builder.slice(around, 0, 2, 1)
    extent = builder.node("Sub", [builder.slice(around, 2, 4, 1), low])
    enough = builder.constant(MIN_EXTENT, np.float32)
    one, zero = builder.constant(1.0, np.float32), builder.constant(0.0, np.float32)
    two = builder.constant(2.0, np.float32)
    valid = builder.node("GreaterOrEqual", [extent, enough])
    safe = builder.node("Where", [valid, extent, one])
    columns = []
    for box in (subject, object_):
        box_low = builder.slice(box, 0, 2, 1)
        size = builder.node("Sub", [builder.slice(box, 2, 4, 1), box_low])
        from_low = builder.node("Mul", [two, builder.node("Sub", [box_low, low])])
        alpha = builder.node("Sub", [builder.node("Div", [from_low, safe]), one])
        beta = builder.node("Div", [builder.node("Mul", [two, size]), safe])
        columns += [builder.node("Where", [valid, value, zero]) for value in (alpha, beta)]
    if pair.union_extent is None:
        columns.append(builder.node("Where", [valid, one, zero]))
    else:
        slope = builder.constant(2 / pair.union_extent, np.float32)
        columns.append(builder.node("Mul", [extent, slope]))
    coefficients = builder.node("Concat", columns, axis=1)
    basis = builder.constant(_basis(pair).reshape(len(columns) * 2, -1), np.float32)
    constant = bias[:, None, None] + _union_constant(pair)
    product = builder.node(
        "Gemm", [coefficients, basis, builder.constant(constant.ravel(), np.float32)]
    )
    return builder.node("Reshape", [product, builder.ints(-1, len(pair.weight), height, width)])


def _basis(pair: PairConvolution) -> Float64Array:
    """What each coefficient adds: ``[10, K, h, w]``.

    In the order of the columns: offset x, y and slope x, y of the subject, then of the object; then
    the union's own map along x, and y, or its slopes where it has an extent.
    """
    x, y = _positions(pair)
    flat = np.ones(pair.bins)
    parts = []
    for role in (SUBJECT, OBJECT):
        for picture_x, picture_y in ((flat, flat), (x, y)):
            parts.append(_convolve(pair, pair.map_offsets[role], picture_x))
            parts.append(_convolve(pair, pair.map_offsets[role] + 1, picture_y))
    own = (2 * x - 1, 2 * y - 1) if pair.union_extent is None else (x, y)
    parts += [_convolve(pair, pair.map_offsets[UNION] + k, map_) for k, map_ in enumerate(own)]
    return np.stack(parts)


def _union_constant(pair: PairConvolution) -> Float64Array:
    """What the union's maps add whatever the pair, ``[K, h, w]``: they begin at -1."""
    if pair.union_extent is None:
        return np.zeros((len(pair.weight), *pair.bins))
    flat = np.full(pair.bins, -1.0)
    first = pair.map_offsets[UNION]
    return _convolve(pair, first, flat) + _convolve(pair, first + 1, flat)


def _positions(pair: PairConvolution) -> tuple[Float64Array, Float64Array]:
    """Where the bins' centres are along a box, 0 to 1, ``[h, w]`` along x and along y."""
    height, width = pair.bins
    x = np.tile((np.arange(width) + 0.5) / width, (height, 1))
    y = np.tile(((np.arange(height) + 0.5) / height)[:, None], (1, width))
    return x, y


def _convolve(pair: PairConvolution, channel: int, picture: Float64Array) -> Float64Array:
    """One input channel's share of the pair convolution, zero padding included: ``[K, h, w]``."""
    height, width = picture.shape
    padded = np.pad(picture, 1)
    kernel = pair.weight[:, channel]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    assert windows.shape[:2] == (height, width)
    response: Float64Array = np.einsum("kij,yxij->kyx", kernel, windows)
    return response
