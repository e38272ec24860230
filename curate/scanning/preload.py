"""To be imported where workers are forked from: all that measuring needs, used once.

OpenCV fills its tables for Lab when they are first used, for 0.07 s, and reads the tone network for 0.04 s; Pillow
imports readers of formats for 0.02 s.
"""

from __future__ import annotations

import gc
from contextlib import suppress

import cv2
import numpy as np
from PIL import Image

import curate.scanning.scan  # noqa: F401 - what workers run
from curate.errors import VividsetError
from curate.executors.worker import limit_threads
from curate.measures.measure import measure
from curate.measures.tone.network import log_odds

limit_threads()
with suppress(VividsetError, MemoryError, cv2.error):  # workers meet it again, and can tell
    measure(np.zeros((2, 2, 3), np.uint8))
    log_odds(np.zeros((2, 2, 3), np.uint8))
Image.preinit()
gc.freeze()  # nothing of this is to be looked through again, in processes that share the memory
