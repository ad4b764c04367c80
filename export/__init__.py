"""Bundles from foreign or trained models: conversion, verification and packing of graphs."""

from vinfer.export.catalogue import EXPORTS, export
from vinfer.export.detector import pack_detector
from vinfer.export.functions import attach_functions
from vinfer.export.to_onnx import to_onnx
from vinfer.export.yolox import import_yolox

__all__ = ["EXPORTS", "attach_functions", "export", "import_yolox", "pack_detector", "to_onnx"]
