#!/bin/sh
# Builds vinfer for this machine's GPU, runs every GPU test and the GPU benchmarks, and writes one
# JSON and one Markdown file. Needs no network: torch, nvcc, cmake, ninja, pybind11,
# scikit-build-core, numpy and pytest are there. Ends within ten minutes. Without a GPU it builds,
# says what it skipped and why, and ends without an error.
#
#     benchmarks/gpu/acceptance.sh [OUTPUT]    # OUTPUT.json and OUTPUT.md;
#                                              # without: benchmarks/results/gpu_<name of the GPU>
set -eu
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python3}" -m benchmarks.gpu.acceptance "$@"
