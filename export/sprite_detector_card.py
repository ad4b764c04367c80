"""The model card of the detector of sprites."""

from __future__ import annotations

from vinfer.bundles import Nms
from vinfer.training.sprite_detector_quality import SpriteDetectorQuality


def sprite_detector_card(
    name: str, version: str, trained: str, quality: SpriteDetectorQuality | None, nms: Nms
) -> str:
    """The card of the detector of sprites.

    Args:
        name, version: of the bundle.
        trained: on what, and how.
        quality: on held-out clips; None: not measured.
        nms: the bundle's thresholds.
    """
    return f"""\
# {name} {version}

Finds the eight kinds of objects of vinfer's synthetic pictures and clips (docs/sprites.md), so that
what is built on a detector can be tried on clips whose every relation is known. It is of no use on
photographs.

**Network.** 0.28 million parameters, float32, made for this: at every fourth pixel a score a class
and the distances to the four sides of a box.

**Licence.** Apache-2.0, as vinfer.

**Trained on** synthetic pictures made by vinfer.training.sprites from random weights, with
`vinfer train sprites-detector`: {trained}. The same command gives the same
bytes on one machine; another processor or version of PyTorch rounds differently.

**Input.** `images` float32 `[N, 3, 144, 192]`, RGB, `(x - 127.5) / 64`; a picture of another size
is fitted in and padded. Best is 144x192, the size of a clip, where no pixel is resized. **Output.**
`boxes` `[N, 1728, 4]`, xyxy in pixels of the input, and `scores` `[N, 1728, 8]`.

**Hat and bowl** have one shape; in clips, and in what this was trained on, bowls are upside down.
In stills as they usually are a bowl looks like a hat and is called so.

**Quality.** {_figures(quality, nms)}

**Limits.** Sprites of the generator's sizes only, enlarged by an eighth at most.
"""


def _figures(quality: SpriteDetectorQuality | None, nms: Nms) -> str:
    if quality is None:
        return "Not measured."
    recall = ", ".join(f"{name} {100 * share:.1f} %" for name, share in quality.recall.items())
    return f"""\
On {quality.num_pictures} frames of held-out clips after H.264, scores from {nms.score_threshold}:
objects found: {recall};
{quality.false_per_picture:.3f} false detections a frame. The worst side of a box is off by
{quality.error_median:.2f} pixels in the median, by up to {quality.error_95:.2f} in 95 % of the
boxes, and by no more than one pixel in {100 * quality.within_a_pixel:.1f} %."""
