"""Bundles from foreign or trained models: conversion, verification and packing of graphs."""

from vinfer.export.catalogue import EXPORTS, export
from vinfer.export.detector import pack_detector
from vinfer.export.functions import attach_functions
from vinfer.export.relation_factoring import factor_relations
from vinfer.export.relation_network import export_relation_network
from vinfer.export.to_onnx import to_onnx
from vinfer.export.winograd import use_winograd
from vinfer.export.yolox import import_yolox

__all__ = [
    "EXPORTS",
    "attach_functions",
    "export",
    "export_relation_network",
    "factor_relations",
    "import_yolox",
    "pack_detector",
    "to_onnx",
    "use_winograd",
]
