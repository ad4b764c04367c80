"""The detector of sprites: its graph, and the bundle from training to measured quality."""

from __future__ import annotations

import dataclasses
import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vinfer.backends import SessionOptions
from vinfer.bundles import BoxesScoresDecode, Bundle, Nms, Preprocess, default_bundle_dir
from vinfer.errors import ConfigError, MissingDependencyError
from vinfer.export.detector import pack_detector
from vinfer.export.graph_builder import GraphBuilder
from vinfer.export.sprite_detector_card import sprite_detector_card
from vinfer.stages.detect import Detector
from vinfer.training.sprite_detector_pictures import SIZE, training_pictures
from vinfer.training.sprite_detector_quality import SpriteDetectorQuality, measure_on_clips
from vinfer.training.sprite_detector_targets import STRIDE, cell_centres
from vinfer.training.sprites import CLASSES

if TYPE_CHECKING:
    from vinfer.training.sprite_detector_network import SpriteDetectorNetwork

NAME = "sprites-detector"
VERSION = "1.0.0"
PICTURES, EPOCHS = 12_000, 4
"""What the shipped bundle is trained with."""

HELD_OUT_CLIPS = 30
MOST_PICTURES, MOST_EPOCHS = 20_000, 1000

# Weak objects continue tracks (`vinfer.stages.track`): one that was lost for a second cost its
# event. No two objects have nearly one box: what overlaps so much is one object under two names.
NMS = Nms(score_threshold=0.3, iou_threshold=0.5, max_detections=50, class_agnostic=True)

Progress = Callable[[str, int, int, str], None]
"""Takes what is counted, how many are done, how many there are, and a few words more."""

Weights = dict[str, npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True, slots=True)
class SpriteDetectorReport:
    """What a training came to.

    Attributes:
        bundle: the file that was written.
        seed, num_pictures, epochs: as given.
        seconds: that the training took, without making pictures and measuring.
        loss: mean of the last epoch.
        quality: on held-out clips.
    """

    bundle: Path
    seed: int
    num_pictures: int
    epochs: int
    seconds: float
    loss: float
    quality: SpriteDetectorQuality

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return {
            **dataclasses.asdict(self),
            "bundle": str(self.bundle),
            "quality": self.quality.to_dict(),
        }


def make_sprite_detector(
    output: Path | None = None,
    *,
    num_pictures: int = PICTURES,
    epochs: int = EPOCHS,
    seed: int = 0,
    num_held_out: int = HELD_OUT_CLIPS,
    progress: Progress | None = None,
) -> SpriteDetectorReport:
    """Train the detector, export it, measure it on held-out clips and pack it.

    The same arguments give the same bytes on one machine. Nothing is written before all of it
    succeeded.

    Args:
        output: the bundle to write; default ``sprites-detector.vinfer`` among the bundles.
        num_pictures: to train on, 1 to 20,000; 83 kB of memory each.
        epochs: 1 to 1000.
        seed: of pictures, weights and order, 0 or more.
        num_held_out: clips to measure on, 1 or more.
        progress: called now and then.

    Raises:
        ConfigError: a number is out of range.
        MissingDependencyError: PyTorch, onnx or PyAV is not installed.
        TrainingError: the loss did not stay finite.
        OutputError: the bundle can't be written.
    """
    for name, value, least, most in (
        ("pictures", num_pictures, 1, MOST_PICTURES),
        ("epochs", epochs, 1, MOST_EPOCHS),
        ("seed", seed, 0, 1_000_000),
        ("held-out clips", num_held_out, 1, 1000),
    ):
        if not least <= value <= most:
            raise ConfigError(f"{name}: found {value}, expected {least} to {most}")
    for package, called, extra in (
        ("torch", "PyTorch", "train"),
        ("onnx", "onnx", "train"),
        ("av", "PyAV", "video"),
    ):
        try:
            importlib.import_module(package)
        except ImportError as exc:
            raise MissingDependencyError.of(called, extra, exc) from exc
    from vinfer.training.sprite_detector import fit

    report = progress or (lambda *_: None)
    pictures = training_pictures(
        num_pictures, seed, lambda done, most: report("pictures", done, most, "")
    )
    fitted = fit(
        pictures,
        epochs=epochs,
        seed=seed,
        progress=lambda done, most, loss: report("batches", done, most, f"loss {loss:.3f}"),
    )
    graph = sprite_detector_graph(fitted.network)
    trained = (
        f"{num_pictures} pictures, half of them stills and half frames of H.264 clips, {epochs} "
        f"epochs, seed {seed}"
    )
    with tempfile.TemporaryDirectory() as folder:
        unmeasured = _pack(graph, Path(folder) / "bundle.vinfer", trained, None)
        with Detector(Bundle.open(unmeasured), SessionOptions(provider="cpu", threads=1)) as found:
            quality = measure_on_clips(
                found, num_held_out, progress=lambda done, most: report("clips", done, most, "")
            )
    bundle = _pack(graph, output or default_bundle_dir() / f"{NAME}.vinfer", trained, quality)
    return SpriteDetectorReport(
        bundle, seed, num_pictures, epochs, fitted.seconds, fitted.losses[-1], quality
    )


def _pack(graph: bytes, output: Path, trained: str, quality: SpriteDetectorQuality | None) -> Path:
    from vinfer.training.sprite_detector import MEAN, STD

    return pack_detector(
        graph,
        name=NAME,
        bundle_version=VERSION,
        labels=CLASSES,
        preprocess=Preprocess(size=SIZE, mode="pad", mean=MEAN, std=STD),
        decode=BoxesScoresDecode(boxes="boxes", scores="scores", normalized=False),
        nms=NMS,
        source="trained from random weights by `vinfer train sprites-detector`",
        trained_on="synthetic pictures made by vinfer.training.sprites",
        licence="Apache-2.0",
        notes=trained,
        quality={} if quality is None else {"held-out clips after H.264": quality.to_dict()},
        card=sprite_detector_card(NAME, VERSION, trained, quality, NMS),
        output=output,
    )


def sprite_detector_graph(network: SpriteDetectorNetwork) -> bytes:
    """The network with its decode as a serialised ONNX model, opset 17, batch norms folded.

    Written node by node: the same weights give the same bytes, whatever PyTorch's version.

    Args:
        network: as trained.

    Returns:
        A model with input ``images`` float32 ``[N, 3, 144, 192]``, normalised, and outputs
        ``boxes`` ``[N, 1728, 4]``, xyxy in its pixels, and ``scores`` ``[N, 1728, 8]`` in [0, 1],
        one a class; cells row by row.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    n = _Layers(weights)
    fine = n.residual("fine_block", n.conv_norm("fine", n.conv_norm("stem", "images", 2), 2))
    middle = n.residual("middle_block", n.conv_norm("middle", fine, 2))
    coarse = n.residual("coarse_block", n.conv_norm("coarse", middle, 2))
    middle = n.conv_norm("middle_merge", n.plus_doubled("coarse_to_middle", middle, coarse), 1)
    hidden = n.conv_norm("fine_merge", n.plus_doubled("middle_to_fine", fine, middle), 1)

    g = n.graph
    g.node("Sigmoid", [n.cells("heat", hidden)], "scores")
    sides = g.node("Mul", [n.cells("sides", hidden), g.constant("stride", STRIDE)], "distances")
    centres = g.constant("centres", cell_centres(SIZE))
    parts = [g.constant("two_and_two", [2, 2], np.int64)]
    before = g.node("Split", [sides, *parts], "before", "after", axis=2)
    low = g.node("Sub", [centres, before], "low")
    high = g.node("Add", [centres, "after"], "high")
    g.node("Concat", [low, high], "boxes", axis=2)
    num_cells = len(cell_centres(SIZE))
    return g.model(
        "sprite_detector",
        {"images": ["N", 3, *SIZE]},
        {"boxes": ["N", num_cells, 4], "scores": ["N", num_cells, len(CLASSES)]},
    )


class _Layers:
    """The layers of the network as nodes; a value is called after its layer."""

    def __init__(self, weights: Weights) -> None:
        self.graph = GraphBuilder()
        self._weights = weights

    def conv_norm(self, name: str, x: str, stride: int, *, then_relu: bool = True) -> str:
        """A convolution with the batch norm after it in its weights, and a ReLU."""
        weight, norm = self._weights[f"{name}.0.weight"], f"{name}.1"
        deviation = np.sqrt(self._weights[f"{norm}.running_var"].astype(np.float64) + 1e-5)
        scale = self._weights[f"{norm}.weight"] / deviation
        bias = self._weights[f"{norm}.bias"] - self._weights[f"{norm}.running_mean"] * scale
        out = self._conv(name, x, weight * scale[:, None, None, None], bias, stride)
        return self.graph.node("Relu", [out], f"{name}_relu") if then_relu else out

    def residual(self, name: str, x: str) -> str:
        first = self.conv_norm(f"{name}.first", x, 1)
        second = self.conv_norm(f"{name}.second", first, 1, then_relu=False)
        return self.graph.node(
            "Relu", [self.graph.node("Add", [x, second], f"{name}_sum")], f"{name}_relu"
        )

    def plus_doubled(self, name: str, x: str, coarse: str) -> str:
        """The sum of a map and of a coarser one, brought to its channels and size."""
        small = self.plain(name, coarse)
        scales = self.graph.constant(f"{name}_scales", [1, 1, 2, 2])
        large = self.graph.node(
            "Resize",
            [small, "", scales],
            f"{name}_doubled",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        return self.graph.node("Add", [x, large], f"{name}_sum")

    def plain(self, name: str, x: str) -> str:
        """A convolution with a bias."""
        return self._conv(
            name, x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], 1
        )

    def cells(self, name: str, x: str) -> str:
        """A plain convolution's channels for each cell: ``[N, cells, channels]``."""
        g, out = self.graph, self.plain(name, x)
        shape = g.constant(f"{name}_shape", [0, len(self._weights[f"{name}.bias"]), -1], np.int64)
        flat = g.node("Reshape", [out, shape], f"{name}_flat")
        return g.node("Transpose", [flat], f"{name}_cells", perm=[0, 2, 1])

    def _conv(
        self, name: str, x: str, weight: npt.NDArray[Any], bias: npt.NDArray[Any], stride: int
    ) -> str:
        kernel = weight.shape[2]
        inputs = [
            x,
            self.graph.constant(f"{name}_weight", weight),
            self.graph.constant(f"{name}_bias", bias),
        ]
        return self.graph.node(
            "Conv",
            inputs,
            f"{name}_conv",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
        )
