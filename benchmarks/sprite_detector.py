"""How well the detector of sprites finds them, on pictures that no training saw.

    python -m benchmarks.sprite_detector [BUNDLE] [--clips 30] [--stills 200] [--output FILE]

Every tenth frame of held-out clips after H.264: as they are, with a bar in front of everything,
with twice the noise, blurred, and with a cut; stills of a clip's size and of the usual one. Then
average precision on the clips as they are (COCO's, pycocotools); what other score thresholds would
give; and the time of a frame on one thread.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, versions
from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, find_bundle
from vinfer.evaluation.detection import evaluate_detection, evaluation_detector
from vinfer.stages.detect import Detector
from vinfer.training.sprite_detector_pictures import SIZE, LabelledPicture
from vinfer.training.sprite_detector_quality import (
    HELD_OUT_SEED,
    SpriteDetectorQuality,
    held_out_frames,
    measure,
)
from vinfer.training.sprites import CLASSES, make_sprite_data
from vinfer.training.sprites.still_files import png

CPU = SessionOptions(provider="cpu", threads=1)
LOOKS: dict[str, dict[str, Any]] = {
    "clips": {},
    "clips, a bar in front": {"occlusion": True},
    "clips, noise 16": {"noise": 16},
    "clips, blur 2": {"blur": 2},
    "clips, a cut": {"num_cuts": 1},
}
STILLS: dict[str, tuple[int, int]] = {"stills 144x192": SIZE, "stills 128x128": (128, 128)}
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)


def stills(number: int, size: tuple[int, int]) -> list[LabelledPicture]:
    """Pictures as they are drawn, bowls upside down."""
    data = make_sprite_data(number, HELD_OUT_SEED, size=size, inverted_bowls=True)
    assert data.read is not None
    return [LabelledPicture(data.read(p), p.labels, p.boxes) for p in data.pictures]


def average_precision(bundle: Bundle, pictures: Sequence[LabelledPicture]) -> dict[str, Any]:
    """COCO's figures; all boxes are counted down to a score of .001."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        annotations: list[dict[str, Any]] = []
        for number, picture in enumerate(pictures, 1):
            (folder / f"{number}.png").write_bytes(png(picture.image))
            for label, (x1, y1, x2, y2) in zip(
                picture.labels.tolist(), picture.boxes.tolist(), strict=True
            ):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": label + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                    }
                )
        height, width = pictures[0].image.shape[:2]
        truth = {
            "images": [
                {"id": k, "file_name": f"{k}.png", "height": height, "width": width}
                for k in range(1, len(pictures) + 1)
            ],
            "annotations": annotations,
            "categories": [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)],
        }
        path = folder / "annotations.json"
        path.write_text(json.dumps(truth))
        with evaluation_detector(bundle, CPU) as detector:
            found = evaluate_detection(detector, path, folder)
    return {
        "ap": found.ap,
        "ap50": found.ap50,
        "ap75": found.ap75,
        "per_class": dict(found.per_class),
    }


def milliseconds(detector: Detector, picture: LabelledPicture, repeats: int = 200) -> float:
    """Median time of a frame, from the picture to the boxes."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        detector.detect(picture.image)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def line(name: str, quality: SpriteDetectorQuality) -> str:
    """A line of the table."""
    lowest = min(quality.recall, key=lambda label: quality.recall[label])
    found = np.mean(list(quality.recall.values()))
    return (
        f"{name:24}{quality.num_objects:8}{100 * found:8.1f}  {lowest:7}"
        f"{100 * quality.recall[lowest]:6.1f}{quality.false_per_picture:8.3f}"
        f"{quality.error_median:8.2f}{quality.error_95:8.2f}{100 * quality.within_a_pixel:8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", nargs="?", default="sprites-detector")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--stills", type=int, default=200)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    bundle = Bundle.open(find_bundle(args.bundle))
    print(f"{bundle.identity}, {bundle.digest}")
    print(
        f"{'':24}{'objects':>8}{'found':>8}  {'lowest':7}{'':6}{'false':>8}{'median':>8}"
        f"{'95 %':>8}{'<= 1':>8}"
    )
    figures: dict[str, Any] = {}
    with Detector(bundle, CPU) as detector:
        usual = list(held_out_frames(args.clips))
        for name, look in LOOKS.items():
            pictures = list(held_out_frames(args.clips, **look)) if look else usual
            quality = measure(detector, pictures)
            figures[name] = quality.to_dict()
            print(line(name, quality), flush=True)
        for name, size in STILLS.items():
            quality = measure(detector, stills(args.stills, size))
            figures[name] = quality.to_dict()
            print(line(name, quality), flush=True)
        speed = milliseconds(detector, usual[0])
    thresholds = {}
    for threshold in THRESHOLDS:
        with Detector(bundle, CPU, score_threshold=threshold) as detector:
            quality = measure(detector, usual)
        thresholds[str(threshold)] = quality.to_dict()
        print(line(f"clips, score >= {threshold}", quality), flush=True)
    precision = average_precision(bundle, usual)
    print(f"AP {precision['ap']:.3f}, AP50 {precision['ap50']:.3f}")
    print(f"{speed:.1f} ms a frame")
    report = {
        "machine": machine(),
        "versions": versions("numpy", "onnxruntime", "av", "pycocotools"),
        "bundle": {"identity": bundle.identity, "digest": bundle.digest},
        "clips": args.clips,
        "stills": args.stills,
        "at_the_bundles_threshold": figures,
        "clips_at_other_thresholds": thresholds,
        "average_precision_on_clips": precision,
        "milliseconds_a_frame": speed,
    }
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
