"""The types of what the kernels read and write."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Cells = NDArray[np.int64]
Costs = NDArray[np.int32]
Links = NDArray[np.int32]
Masks = NDArray[np.uint8]
Words = NDArray[np.uint64]
