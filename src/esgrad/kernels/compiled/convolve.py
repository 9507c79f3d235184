"""`esgrad.kernels.convolve`, compiled, and the largest of windows."""

import numba
import numpy as np

from esgrad.kernels.compiled import njit
from esgrad.kernels.compiled.fma import fma


@njit
def convolve(out: np.ndarray, numbers: np.ndarray, weight: np.ndarray, bias: np.ndarray, batch: int) -> None:
    """Fill out [m, O, H', W'·B] from numbers [m or 1, C, H, W·B], weights [m, O, C, h, w] and biases [m, O]."""
    members, outputs, channels, height, width = weight.shape
    _, _, rows, length = out.shape
    shared = len(numbers) == 1
    for m in range(members):
        image = numbers[0] if shared else numbers[m]
        for y in range(rows):
            for o in range(outputs):
                row = out[m, o, y]
                row[:] = bias[m, o]
                for c in range(channels):
                    for i in range(height):
                        line, taps = image[c, y + i], weight[m, o, c, i]
                        j = 0
                        while j + 5 <= width:
                            _add5(
                                row, taps[j : j + 5], line[j * batch : j * batch + length],
                                line[(j + 1) * batch : (j + 1) * batch + length],
                                line[(j + 2) * batch : (j + 2) * batch + length],
                                line[(j + 3) * batch : (j + 3) * batch + length],
                                line[(j + 4) * batch : (j + 4) * batch + length],
                            )  # fmt: skip
                            j += 5
                        while j < width:
                            _add1(row, taps[j], line[j * batch : j * batch + length])
                            j += 1


@numba.njit(nogil=True)
def _add5(
    row: np.ndarray, taps: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, e: np.ndarray
) -> None:
    w0, w1, w2, w3, w4 = taps[0], taps[1], taps[2], taps[3], taps[4]
    for i in range(row.size):
        row[i] = fma(w4, e[i], fma(w3, d[i], fma(w2, c[i], fma(w1, b[i], fma(w0, a[i], row[i])))))  # type: ignore[call-arg]


@numba.njit(nogil=True)
def _add1(row: np.ndarray, tap: np.float32, line: np.ndarray) -> None:
    for i in range(row.size):
        row[i] = fma(tap, line[i], row[i])  # type: ignore[call-arg]


@njit
def largest(out: np.ndarray, numbers: np.ndarray, size: int, batch: int) -> None:
    """Fill out [n, H', W'·B] with the largest of the windows of numbers [n, H, W·B], side by side."""
    _, rows, length = out.shape
    best = np.empty(length * size, np.float32)
    for n in range(len(out)):
        for y in range(rows):
            best[:] = numbers[n, y * size, : length * size]
            for i in range(1, size):
                _raise(best, numbers[n, y * size + i, : length * size])
            for x in range(length // batch):
                into = out[n, y, x * batch : (x + 1) * batch]
                into[:] = best[x * size * batch : (x * size + 1) * batch]
                for j in range(1, size):
                    _raise(into, best[(x * size + j) * batch : (x * size + j + 1) * batch])


@numba.njit(nogil=True)
def _raise(best: np.ndarray, other: np.ndarray) -> None:
    for i in range(best.size):
        best[i] = other[i] if other[i] > best[i] or other[i] != other[i] else best[i]  # a NaN stays
