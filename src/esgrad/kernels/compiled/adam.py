"""`esgrad.training.optimizers.adam`, compiled: what happens to a number before and after its root, while it is at hand.

torch's `lerp_` and `addcmul_` round once where a product and a sum follow each other; so does this. The root itself is
torch's, which is not always the nearest number.
"""

import numba
import numpy as np
from numpy import float32

from esgrad.kernels.compiled import njit
from esgrad.kernels.compiled.fma import fma


def in_order(array: np.ndarray) -> np.ndarray:
    """[r, n], of an array [r, ...] that lies in memory as it is or, matrices that products leave, transposed."""
    if array.ndim == 3 and array.transpose(0, 2, 1).flags.c_contiguous and not array.flags.c_contiguous:
        out = np.empty(array.shape, array.dtype)
        _transpose(out, array.transpose(0, 2, 1))  # twice as fast as torch, as some runs at a time stay in the cache
        array = out
    return array.reshape(len(array), -1)


@njit
def _transpose(out: np.ndarray, array: np.ndarray) -> None:
    """[r, m, n] of [r, n, m]."""
    for r in range(array.shape[0]):
        for i in range(array.shape[1]):
            for j in range(array.shape[2]):
                out[r, j, i] = array[r, i, j]


@njit
def moments(
    parameters: tuple[np.ndarray, ...],
    gradients: tuple[np.ndarray, ...],
    means: tuple[np.ndarray, ...],
    squares: tuple[np.ndarray, ...],
    roots: tuple[np.ndarray, ...],
    decay: np.float32,
    keep: np.float32,
    near: np.float32,
    far: np.float32,
    correction: np.float32,
) -> None:
    """Both moments of some arrays, the corrected second ones in `roots`; `near` is 1 − β₁, `far` 1 − β₂, `keep` β₂."""
    for j in range(len(parameters)):
        arrays = parameters[j], gradients[j], means[j], squares[j], roots[j]
        p, g, m, v, root = arrays[0].ravel(), arrays[1].ravel(), arrays[2].ravel(), arrays[3].ravel(), arrays[4].ravel()
        _moments(p, g, m, v, root, decay, keep, near, far, correction)


@njit
def move(
    parameters: tuple[np.ndarray, ...],
    means: tuple[np.ndarray, ...],
    roots: tuple[np.ndarray, ...],
    eta: np.ndarray,
    epsilon: np.float32,
) -> None:
    """The step of some arrays [R, n] with a rate η [R] over the first correction."""
    for j in range(len(parameters)):
        for r in range(len(eta)):
            _move(parameters[j][r], means[j][r], roots[j][r], eta[r], epsilon)


@numba.njit(nogil=True, error_model="numpy")  # a check of each division would keep the loop scalar
def _moments(
    parameter: np.ndarray,
    gradient: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    root: np.ndarray,
    decay: np.float32,
    keep: np.float32,
    near: np.float32,
    far: np.float32,
    correction: np.float32,
) -> None:
    for i in range(parameter.size):
        g = float32(gradient[i] - float32(decay * parameter[i]))
        mean[i] = fma(near, float32(g - mean[i]), mean[i])  # type: ignore[call-arg]
        square[i] = fma(float32(far * g), g, float32(square[i] * keep))
        root[i] = square[i] / correction


@numba.njit(nogil=True, error_model="numpy")
def _move(parameter: np.ndarray, mean: np.ndarray, root: np.ndarray, eta: np.float32, epsilon: np.float32) -> None:
    for i in range(parameter.size):
        parameter[i] += float32(float32(eta * mean[i]) / float32(root[i] + epsilon))
