"""RelSprites: synthetic pictures and clips whose relations are known exactly."""

from vinfer.training.sprites.scene import CLASSES, PREDICATES
from vinfer.training.sprites.stills import SpriteData, make_sprite_data

__all__ = ["CLASSES", "PREDICATES", "SpriteData", "make_sprite_data"]
