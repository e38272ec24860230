"""The error message for a required library that can't be imported."""

from __future__ import annotations

import re
from types import MappingProxyType, TracebackType

from curate.text import describe_error

OWN_MODULES = ("curate", "train", "__main__")
DISTRIBUTIONS = MappingProxyType(
    {"cv2": "opencv-python", "PIL": "pillow", "lightning_fabric": "lightning-fabric", "kornia_rs": "kornia-rs"}
)
"""Package names of modules whose package has another name."""
_SHARED_LIBRARY = re.compile(r"([\w.+-]+\.so[\w.]*): cannot open shared object file")


def import_error_message(exc: BaseException) -> str | None:
    """Which library can't be imported, why, and what to install.

    Args:
        exc: an ImportError, or the OSError that torch raises if one of its own shared libraries is missing.

    Returns:
        One line; None if the error isn't a failed import of a third-party library.
    """
    if isinstance(exc, OSError) and exc.errno is not None:
        return None
    while isinstance(exc.__cause__, ImportError):  # numpy wraps the error in a long text; its cause names the file
        exc = exc.__cause__
    module = _imported_module(exc)
    if module is None or module in OWN_MODULES:
        return None
    package = DISTRIBUTIONS.get(module, module)
    name = module if package == module else f"{module} ({package})"
    missing = _SHARED_LIBRARY.match(describe_error(exc))
    reinstall = f"pip install --force-reinstall {package}"
    if missing is None:
        return f"{name} can't be imported: {describe_error(exc)}: reinstall it: {reinstall}"
    advice = f"the system library {missing[1]} is missing: install it with the system's package manager"
    if module == "cv2":
        advice += ", or install opencv-python-headless in place of opencv-python, which needs it"
    else:
        advice += f"; if the library belongs to {package}: {reinstall}"
    return f"{name} can't be imported: {describe_error(exc)}: {advice}"


def _imported_module(exc: BaseException) -> str | None:
    """The top-level module that the error names, or else the innermost one that was being imported."""
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
