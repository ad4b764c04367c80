"""Bundles from foreign or trained models: conversion, verification and packing of graphs."""

from vinfer.export.catalogue import EXPORTS, export
from vinfer.export.detector import pack_detector
from vinfer.export.yolox import import_yolox

__all__ = ["EXPORTS", "export", "import_yolox", "pack_detector"]
