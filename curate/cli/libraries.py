"""One line about a required library that can't be imported."""

from __future__ import annotations

import re
from types import MappingProxyType, TracebackType

from curate.text import describe_error

OURS = ("curate", "train", "__main__")
DISTRIBUTIONS = MappingProxyType(
    {"cv2": "opencv-python", "PIL": "pillow", "lightning_fabric": "lightning-fabric", "kornia_rs": "kornia-rs"}
)
"""Of modules that are not named as what pip installs."""
_SHARED_LIBRARY = re.compile(r"([\w.+-]+\.so[\w.]*): cannot open shared object file")


def failed_import(exc: BaseException) -> str | None:
    """Which library can't be imported, why, and what to install.

    Args:
        exc: an ImportError, or an OSError, as torch raises where one of its own shared libraries is missing.

    Returns:
        One line; None if it isn't a library's import that failed, or if it is our own.
    """
    if isinstance(exc, OSError) and exc.errno is not None:
        return None
    while isinstance(exc.__cause__, ImportError):  # numpy explains at length; the cause names the file
        exc = exc.__cause__
    module = _module(exc)
    if module is None or module in OURS:
        return None
    package = DISTRIBUTIONS.get(module, module)
    named = module if package == module else f"{module} ({package})"
    missing = _SHARED_LIBRARY.match(describe_error(exc))
    reinstall = f"pip install --force-reinstall {package}"
    if missing is None:
        return f"{named} can't be imported: {describe_error(exc)}: install it again: {reinstall}"
    advice = f"the system library {missing[1]} is missing: install it with the system's package manager"
    if module == "cv2":
        advice += ", or replace opencv-python, which needs it, by opencv-python-headless"
    else:
        advice += f", or if it is the package's own: {reinstall}"
    return f"{named} can't be imported: {describe_error(exc)}: {advice}"


def _module(exc: BaseException) -> str | None:
    """The top-level module that Python names; else the last one whose import had begun."""
    if isinstance(exc, ImportError) and exc.name:
        return exc.name.partition(".")[0]
    importing = None
    trace: TracebackType | None = exc.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if module != "importlib" and trace.tb_frame.f_code.co_name == "<module>":
            importing = module
        trace = trace.tb_next
    return importing
