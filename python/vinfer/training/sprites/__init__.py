"""RelSprites: synthetic pictures and clips whose relations are known exactly."""

from vinfer.training.sprites.clip_files import clip_truth, write_clip
from vinfer.training.sprites.clip_frames import make_clip_frames
from vinfer.training.sprites.clips import CLIP_SIZE, ClipEvent, ClipFrame, SpriteClip, make_clip
from vinfer.training.sprites.detector_noise import noisy_detections
from vinfer.training.sprites.scene import CLASSES, PREDICATES, SYMMETRIC
from vinfer.training.sprites.scenes import example_scene
from vinfer.training.sprites.statistics import SpriteStatistics, sprite_statistics
from vinfer.training.sprites.still_files import write_stills
from vinfer.training.sprites.stills import STILL_SIZE, SpriteData, make_sprite_data, render
from vinfer.training.sprites.units import TWINNED

__all__ = [
    "CLASSES",
    "CLIP_SIZE",
    "PREDICATES",
    "STILL_SIZE",
    "SYMMETRIC",
    "TWINNED",
    "ClipEvent",
    "ClipFrame",
    "SpriteClip",
    "SpriteData",
    "SpriteStatistics",
    "clip_truth",
    "example_scene",
    "make_clip",
    "make_clip_frames",
    "make_sprite_data",
    "noisy_detections",
    "render",
    "sprite_statistics",
    "write_clip",
    "write_stills",
]
