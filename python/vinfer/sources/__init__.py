"""Where frames come from: video files, image folders, network streams and cameras."""

from vinfer.sources.base import Source
from vinfer.sources.opening import open_source

__all__ = ["Source", "open_source"]
