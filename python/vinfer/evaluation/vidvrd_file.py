"""Reading the VidVRD/VidOR JSON formats: predictions, and true relations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError, SourceNotFoundError
from vinfer.evaluation.vidvrd import RelationInstance


def read_vidvrd(path: Path | str) -> dict[str, list[RelationInstance]]:
    """Read relation instances by video.

    Args:
        path: a prediction file (``{"version", "results": {VIDEO: [INSTANCE]}}``, as
            `vinfer.stores.vidvrd.VidvrdJson` writes it) or a file of true relations
            (``{VIDEO: [INSTANCE]}``), where a score may be missing and is then 0.

    Raises:
        SourceNotFoundError: the file can't be opened.
        InputError: it is neither; the message names the video and the instance.
    """
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as exc:
        raise SourceNotFoundError(
            f"can't read {path}: {exc.strerror}; expected relations in VidVRD's format"
        ) from exc
    except ValueError as exc:
        raise InputError(f"{path}: not JSON ({exc})") from exc
    predicted = isinstance(data, dict) and "results" in data
    videos = data["results"] if predicted else data
    if not isinstance(videos, dict):
        raise InputError(
            f"{path}: found a JSON {type(videos).__name__}, expected an object of videos"
        )
    result: dict[str, list[RelationInstance]] = {}
    for video, instances in videos.items():
        if not isinstance(instances, list):
            raise InputError(f"{path}: {video}: expected a list of relations")
        result[video] = []
        for number, instance in enumerate(instances):
            where = f"{path}: {video}[{number}]"
            try:
                result[video].append(_instance(instance, scored=predicted))
            except KeyError as exc:
                raise InputError(f"{where}: found no {exc.args[0]!r}, VidVRD needs it") from exc
            except (TypeError, ValueError, IndexError) as exc:
                raise InputError(f"{where}: {exc}") from exc
    return result


def _instance(data: dict[str, Any], *, scored: bool) -> RelationInstance:
    subject, predicate, object_ = (str(name) for name in data["triplet"])
    first, end = (int(frame) for frame in data["duration"])
    if end <= first:
        raise ValueError(f"duration: found [{first}, {end}], expected at least one frame")
    score = float(data["score"] if scored else data.get("score", 0.0))
    if math.isnan(score):
        raise ValueError("score: found NaN, expected a number")
    return RelationInstance(
        (subject, predicate, object_),
        score,
        first,
        _trajectory("sub_traj", data["sub_traj"], end - first),
        _trajectory("obj_traj", data["obj_traj"], end - first),
    )


def _trajectory(name: str, boxes: Any, frames: int) -> npt.NDArray[np.float64]:
    values = np.array(boxes, np.float64)
    if values.shape != (frames, 4):
        raise ValueError(
            f"{name}: found shape {list(values.shape)}, expected [{frames}, 4]: a box for each "
            "frame of duration"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: found coordinates that are not finite")
    return values
