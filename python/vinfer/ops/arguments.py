"""Checks of scalar arguments that the ops share."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from vinfer.errors import InputError

_INT32_MAX = 2**31 - 1


def integer(name: str, value: object) -> int:
    """An int that fits the native side; bools and floats are mistakes, not numbers of something."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_):
        raise InputError(f"{name}: found {value!r}, expected an integer")
    if abs(number) > _INT32_MAX:
        raise InputError(f"{name}: found {number}, expected at most {_INT32_MAX}")
    return number


def real(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as exc:
        raise InputError(f"{name}: found {value!r}, expected a number") from exc


def height_width(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(size, Sequence):
        side = integer(name, size)
        return side, side
    if isinstance(size, str) or len(size) != 2:
        raise InputError(f"{name}: found {size!r}, expected an integer or (height, width)")
    return integer(name, size[0]), integer(name, size[1])


def choice(name: str, value: str, choices: tuple[str, ...]) -> int:
    """Its number among the choices."""
    if value not in choices:
        listed = " or ".join(f'"{known}"' for known in choices)
        raise InputError(f"{name}: found {value!r}, expected {listed}")
    return choices.index(value)


def three(name: str, values: Sequence[float]) -> tuple[float, float, float]:
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != 3:
        raise InputError(f"{name}: found {values!r}, expected three numbers, one a channel")
    return real(name, values[0]), real(name, values[1]), real(name, values[2])
