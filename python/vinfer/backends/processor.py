"""The processor of this machine, as the kernel tells it."""

from __future__ import annotations

import dataclasses
import platform
import re
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Processor:
    """A processor.

    Attributes:
        model: its name; None where the kernel does not tell.
        flags: names of its instruction sets and features, as the kernel spells them.
    """

    model: str | None
    flags: frozenset[str]

    @property
    def has_bfloat16(self) -> bool:
        """Multiplies bfloat16 in hardware: AVX-512 BF16 or AMX."""
        return bool(self.flags & {"avx512_bf16", "amx_bf16"})


def this_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """The processor that this process runs on.

    Args:
        cpuinfo: the kernel's file; where it can't be read, only the architecture is known.
    """
    try:
        found = parse_cpuinfo(cpuinfo.read_text())
    except OSError:
        found = Processor(None, frozenset())
    return Processor(found.model or platform.processor() or platform.machine(), found.flags)


def parse_cpuinfo(text: str) -> Processor:
    """Model and flags of the first processor in the text of ``/proc/cpuinfo``."""
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return Processor(
        model[1].strip() if model else None, frozenset(flags[1].split() if flags else ())
    )
