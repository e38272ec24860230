"""Import and use once everything that measuring needs; the fork server imports this module, so that workers start fast.

On first use OpenCV fills its Lab tables (0.07 s) and reads the networks for tone and kind (0.1 s), and Pillow imports
its format plugins (0.02 s). Forked workers inherit all of it.
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
from curate.measures.kind.network import kind_log_odds
from curate.measures.measure import measure_pixels
from curate.measures.tone.network import network_log_odds
from curate.measures.tone.pretrained import pretrained_log_odds

limit_threads()
with suppress(VividsetError, MemoryError, cv2.error):  # the same error is raised again in a worker, and reported there
    measure_pixels(np.zeros((2, 2, 3), np.uint8))
    network_log_odds([np.zeros((3, 32, 40), np.float32)])
    pretrained_log_odds([np.zeros((2, 2, 3), np.uint8)])
    kind_log_odds([np.zeros((2, 2, 3), np.uint8)], "large")
Image.preinit()
gc.freeze()  # a collection would write to these objects and so copy the memory that forked workers share
