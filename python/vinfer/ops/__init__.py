"""The numerical core: RoIAlign, positional maps, Weldon pooling, letterbox.

All functions take arrays of numpy or of any library that speaks DLPack (PyTorch, CuPy, JAX), on the
CPU or on an NVIDIA GPU where the CUDA kernels are built, and give back an array of the same library
on the same device without a copy. They release the GIL while they compute and raise only errors of
`vinfer.errors`. Results do not depend on the number of threads nor on the CPU's instruction set, to
the last bit. docs/ops.md has formulas, examples and speeds.

Arguments that all have:
    out: where to write the result, a contiguous array of exactly its shape and dtype; new memory
        without.
    num_threads: CPU threads, the caller's included; as many as the process may use without. Calls
        that run at the same time share one pool, so they never add up to more.
    stream: on a GPU, the CUDA stream (its address as an integer) that the work is put on and that
        the result is ready on; the legacy default stream without. Nothing waits for the GPU.
"""

from vinfer.ops.letterbox import LetterboxTransform, Nv12, letterbox
from vinfer.ops.positional_maps import positional_maps
from vinfer.ops.roi_align import roi_align, roi_align_backward
from vinfer.ops.weldon_pool import weldon_pool

__all__ = [
    "LetterboxTransform",
    "Nv12",
    "letterbox",
    "positional_maps",
    "roi_align",
    "roi_align_backward",
    "weldon_pool",
]
