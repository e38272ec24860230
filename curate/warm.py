"""To be imported in a process that workers are forked from: all that measuring needs, and the first photo measured.

OpenCV fills its tables for Lab at the first, for 0.07 s, and Pillow looks for the readers of formats.
"""

import numpy as np

# ruff: noqa: F401 - imported for those who are forked from here
import curate.scan
from curate.measures import measure
from curate.workers import take_one_core

take_one_core()
measure(np.zeros((2, 2, 3), np.uint8))
