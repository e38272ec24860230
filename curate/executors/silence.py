"""Importing this module redirects stderr of the process to the null device.

The fork server imports it first. Otherwise, when a command ends while the server is still importing, the server prints
a traceback to the terminal.
"""

from __future__ import annotations

import os

os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
