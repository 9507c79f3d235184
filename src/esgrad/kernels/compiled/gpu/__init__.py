"""Bodies of kernels for a GPU, in Triton, each held by a test to its oracle's bits: no record depends on them.

Products and sums are rounded apart (`enable_fp_fusion=False`) and divisions to the nearest (`div_rn`), as everywhere.
Where Triton is not installed, the oracle's own operations run on the GPU.
"""

from importlib.util import find_spec
from typing import Any

AVAILABLE = find_spec("triton") is not None
LAUNCH: dict[str, Any] = {"enable_fp_fusion": False}
"""How every kernel is launched."""
