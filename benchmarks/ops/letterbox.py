"""Letterbox: cases and contestants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.ops import onnx_graphs, peers
from benchmarks.ops.contest import Case, Contestant
from vinfer import ops

# (picture, network, mode): what cameras give and detectors take; smaller, as large, and larger.
SIZES = (
    ((360, 640), (300, 300), "stretch"),
    ((480, 853), (300, 300), "stretch"),
    ((480, 853), (640, 640), "pad"),
    ((480, 853), (480, 853), "pad"),
    ((240, 320), (640, 640), "pad"),
    ((720, 1280), (416, 416), "pad"),
    ((720, 1280), (640, 640), "pad"),
    ((1080, 1920), (640, 640), "pad"),
    ((1080, 1920), (224, 224), "stretch"),
    ((1080, 1920), (1080, 1920), "pad"),
    ((2160, 3840), (640, 640), "pad"),
    ((2160, 3840), (1280, 1280), "pad"),
)
LAYOUTS = ("chw", "hwc")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's
PAD_VALUE = 114
# In grey levels before the division by std: an 8-bit resize rounds its result, and its weights.
ROUNDED_TOLERANCE = 1.1 / min(STD)
FLOAT_TOLERANCE = 2e-3 / min(STD)  # grey levels; peers take positions in float32
Picture = npt.NDArray[np.uint8]


def grid(quick: bool) -> list[tuple[tuple[int, int], tuple[int, int], str, str]]:
    """Picture, network, mode and layout of each case.

    CHW for every pair of sizes, HWC for every third; quick: every fifth of these.
    """
    chosen = [
        (*sizes, layout)
        for number, sizes in enumerate(SIZES)
        for layout in LAYOUTS
        if layout == "chw" or number % 3 == 0
    ]
    return chosen[:: 5 if quick else 1]


def picture(height: int, width: int) -> Picture:
    """Smooth with some noise: what matters to a resize is only that it is no constant."""
    generator = np.random.default_rng(2)
    y, x = np.mgrid[:height, :width]
    waves = 127 + 90 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] * [1, 0.7, -0.8]
    noisy = waves + generator.integers(-20, 21, (height, width, 3))
    levels: Picture = np.clip(noisy, 0, 255).astype(np.uint8)
    return levels


class Geometry:
    """Where the picture goes; the rule of `ops.letterbox`."""

    def __init__(self, source: tuple[int, int], target: tuple[int, int], mode: str) -> None:
        self.source, self.target = source, target
        (height, width), (out_height, out_width) = source, target
        if mode == "stretch":
            self.height, self.width = target
        elif out_height * width <= out_width * height:
            self.height = out_height
            self.width = (2 * width * out_height + height) // (2 * height)
        else:
            self.height = (2 * height * out_width + width) // (2 * width)
            self.width = out_width
        self.top = (out_height - self.height) // 2
        self.left = (out_width - self.width) // 2

    @property
    def inside(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


def make_case(
    source: tuple[int, int], target: tuple[int, int], mode: Any, layout: Any, threads: int
) -> Case:
    image = picture(*source)
    place = Geometry(source, target, mode)
    shape = (3, *target) if layout == "chw" else (*target, 3)
    # A peer's 8-bit resize is exact where there is nothing to resize.
    resized = (place.height, place.width) != source

    def ours() -> Contestant:
        out = np.empty(shape, np.float32)
        return Contestant(
            {
                "out": lambda: ops.letterbox(
                    image,
                    target,
                    mode,
                    MEAN,
                    STD,
                    PAD_VALUE,
                    layout,
                    num_threads=threads,
                    out=out,
                )[0]
            }
        )

    def ours_new_output() -> Contestant:
        return Contestant(
            {
                "new": lambda: ops.letterbox(
                    image, target, mode, MEAN, STD, PAD_VALUE, layout, num_threads=threads
                )[0]
            }
        )

    def ours_in_onnxruntime() -> Contestant:
        made = onnx_graphs.model(
            [
                onnx_graphs.node(
                    "vinfer::Letterbox",
                    ["image"],
                    ["Y"],
                    height=target[0],
                    width=target[1],
                    mode=mode,
                    layout=layout,
                    mean=MEAN,
                    std=STD,
                    pad_value=float(PAD_VALUE),
                )
            ],
            {"image": ("uint8", 3)},
        )
        session = onnx_graphs.our_session(made, threads)
        return Contestant(onnx_graphs.variants(session, {"image": image}, shape))

    # Pixels that the result depends on: a reduction by more than two leaves some unread.
    read = min(source[0], 2 * place.height) * min(source[1], 2 * place.width) * 3
    return Case(
        op="letterbox",
        name=f"{source[0]}x{source[1]} to {target[0]}x{target[1]} {mode} {layout}",
        parameters={"source": source, "target": target, "mode": mode, "layout": layout},
        moved_bytes=read + 4 * 3 * target[0] * target[1],
        # Three interpolations and one normalisation a value.
        flops=3 * place.height * place.width * 11,
        make={
            "vinfer": ours,
            "vinfer, new output": ours_new_output,
            "vinfer in ONNX Runtime": ours_in_onnxruntime,
            "cv2": lambda: Contestant(
                cv2_letterbox(image, place, layout),
                ROUNDED_TOLERANCE if resized else FLOAT_TOLERANCE,
                "resizes to 8 bits",
            ),
            "pillow": lambda: Contestant(
                pillow_letterbox(image, place, layout),
                ROUNDED_TOLERANCE if resized else FLOAT_TOLERANCE,
                "resizes to 8 bits; one thread; Image.resize smooths when it reduces, so there "
                "Image.transform, which does not",
            ),
            "torch": lambda: Contestant(
                torch_letterbox(image, place, layout, threads),
                ROUNDED_TOLERANCE if resized else FLOAT_TOLERANCE,
                "float32 and 8-bit interpolate, the faster",
            ),
        },
    )


def tables() -> list[npt.NDArray[np.float32]]:
    """A channel's normalised value of every grey level."""
    levels = np.arange(256, dtype=np.float32)
    return [
        (levels - np.float32(mean)) / np.float32(std) for mean, std in zip(MEAN, STD, strict=True)
    ]


def normaliser(layout: str) -> Callable[[Picture, npt.NDArray[np.float32]], None]:
    """8-bit HWC to the network's layout, with numpy and, where there, OpenCV's look-up."""
    factor = 1 / np.array(STD, np.float32)
    offset = -np.array(MEAN, np.float32) * factor

    def chw(canvas: Picture, out: npt.NDArray[np.float32]) -> None:
        for channel in range(3):
            np.multiply(canvas[..., channel], factor[channel], out=out[channel])
            out[channel] += offset[channel]

    def hwc(canvas: Picture, out: npt.NDArray[np.float32]) -> None:
        np.multiply(canvas, factor, out=out)
        out += offset

    return chw if layout == "chw" else hwc


def cv2_letterbox(image: Picture, place: Geometry, layout: str) -> dict[str, Callable[[], Any]]:
    cv2 = peers.load("cv2")
    out_height, out_width = place.target
    canvas = np.full((out_height, out_width, 3), PAD_VALUE, np.uint8)
    inside = canvas[place.inside]
    inner = (place.width, place.height)
    lookup = tables()
    interleaved = np.stack(lookup, axis=1).reshape(1, 256, 3)
    border = (
        place.top,
        out_height - place.height - place.top,
        place.left,
        out_width - place.width - place.left,
    )
    colour = (PAD_VALUE,) * 3
    out = np.empty((3, *place.target) if layout == "chw" else (*place.target, 3), np.float32)

    def resized() -> Picture:
        # The padding of the canvas never changes, so only the picture is written.
        cv2.resize(image, inner, dst=inside, interpolation=cv2.INTER_LINEAR)
        return canvas

    def look_up() -> Any:
        whole = resized()
        if layout == "hwc":
            return cv2.LUT(whole, interleaved, dst=out)
        for channel, plane in enumerate(cv2.split(whole)):
            cv2.LUT(plane, lookup[channel], dst=out[channel])
        return out

    def bordered() -> Any:
        small = image
        if (place.height, place.width) != place.source:
            small = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
        return cv2.copyMakeBorder(small, *border, cv2.BORDER_CONSTANT, value=colour)

    def blob() -> Any:
        parameters = cv2.dnn.Image2BlobParams()
        parameters.scalefactor = tuple(1 / std for std in STD)
        parameters.mean = MEAN
        return cv2.dnn.blobFromImageWithParams(bordered(), parameters)[0]

    normalise = normaliser(layout)

    def arithmetic() -> Any:
        normalise(resized(), out)
        return out

    found = {"resize, LUT": look_up, "resize, numpy": arithmetic}
    if layout == "chw" and hasattr(cv2.dnn, "blobFromImageWithParams"):
        found["resize, border, blob"] = blob
    return found


def pillow_letterbox(image: Picture, place: Geometry, layout: str) -> dict[str, Callable[[], Any]]:
    peers.load("PIL")
    from PIL import Image

    source = Image.fromarray(image)
    size = (place.width, place.height)
    canvas = np.full((*place.target, 3), PAD_VALUE, np.uint8)
    out = np.empty((3, *place.target) if layout == "chw" else (*place.target, 3), np.float32)
    normalise = normaliser(layout)

    def finished(inner: Any) -> Any:
        canvas[place.inside] = inner
        normalise(canvas, out)
        return out

    def transform() -> Any:
        extent = (0, 0, *source.size)
        return finished(
            source.transform(size, Image.Transform.EXTENT, extent, Image.Resampling.BILINEAR)
        )

    def resize() -> Any:
        return finished(source.resize(size, Image.Resampling.BILINEAR))

    reduces = place.height < place.source[0] or place.width < place.source[1]
    return {"transform": transform} if reduces else {"resize": resize, "transform": transform}


def torch_letterbox(
    image: Picture, place: Geometry, layout: str, threads: int
) -> dict[str, Callable[[], Any]]:
    torch = peers.load("torch")
    source = torch.from_numpy(image)
    factor = 1 / torch.tensor(STD).view(1, 3, 1, 1)
    offset = -torch.tensor(MEAN).view(1, 3, 1, 1) * factor
    padding = (torch.full((1, 3, 1, 1), float(PAD_VALUE)) * factor + offset)[0]
    out = torch.empty((3, *place.target) if layout == "chw" else (*place.target, 3))
    planes = out if layout == "chw" else out.permute(2, 0, 1)
    planes.copy_(padding.expand_as(planes))
    inside = planes[:, *place.inside]
    size = (place.height, place.width)

    def interpolated(picture: Any) -> Any:
        return torch.nn.functional.interpolate(
            picture, size, mode="bilinear", align_corners=False, antialias=False
        )

    def float32() -> Any:
        with torch.inference_mode():
            planar = source.permute(2, 0, 1)[None].float()
            torch.addcmul(offset, interpolated(planar), factor, out=inside[None])
            return out

    def bytes8() -> Any:
        with torch.inference_mode():
            # A view: channels last, for which interpolate has an 8-bit kernel.
            resized = interpolated(source.permute(2, 0, 1)[None])
            inside.copy_(resized[0])
            inside.mul_(factor[0]).add_(offset[0])
            return out

    return {"float32": float32, "8-bit": bytes8}
