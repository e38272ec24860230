"""Starts the commands `curate` and `train`, after a check that Python finds vividset's own packages of these names.

Other distributions have packages named `curate` and `train`, and a folder may have a `train.py` or a `random.py`.
Without the check, the commands would end with an AttributeError, or run that code. This package has a name of its own,
and imports nothing that isn't loaded when Python starts, so that `--help` stays fast.
"""

from __future__ import annotations

import os
import sys

MARKER = b"vividset"
"""The first lines of each package's `__init__.py` contain it."""
DEPENDENCIES = {
    *("PIL", "click", "cv2", "filelock", "kornia", "lightning_fabric", "matplotlib", "numpy", "pandas", "pebble"),
    *("pyarrow", "rich", "safetensors", "simplejpeg", "torch", "torchmetrics"),
}
"""Modules of other distributions that vividset imports."""
HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that contains this package; `curate` and `train` are in the same one."""


def curate() -> None:
    """Run the installed command `curate`."""
    leave_script_folder()
    run("curate")


def train() -> None:
    """Run the installed command `train`."""
    leave_script_folder()
    run("train")


def run(command: str) -> None:
    """Run a command; end with one line if Python finds another package, or another module, of a name that it needs.

    Args:
        command: `curate`, or `train`, which imports `curate` too.
    """
    for name in {command, "curate"}:
        if problem := find_foreign_package(name):
            sys.exit(f"Error: {problem}")
    from importlib import import_module

    try:
        import_module(f"{command}.__main__").main()
    except Exception:
        if problem := find_shadowed_module():
            sys.exit(f"Error: {problem}")
        raise


def leave_script_folder() -> None:
    """Remove the first folder of `sys.path`: the script's own one, or the current folder under `python -m`.

    vividset imports nothing from there, unless it is itself there, and neither do the processes that it starts. Call
    this once.
    """
    if not sys.flags.safe_path and sys.path and os.path.abspath(sys.path[0]) != HOME:
        del sys.path[0]
        os.environ["PYTHONSAFEPATH"] = "1"


def find_foreign_package(name: str) -> str:
    """Return what is wrong if Python finds a package of that name that isn't vividset's; else an empty text.

    Args:
        name: `curate` or `train`; it isn't imported.
    """
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(name)
    found = (spec.origin or f"{next(iter(spec.submodule_search_locations or ()), '')}") if spec else ""
    own = os.path.join(HOME, name, "__init__.py")
    if os.path.abspath(found) != own:
        if not spec:
            return f"vividset's package `{name}` is missing beside {HOME}/vividset: reinstall vividset"
        return (
            f"{found} is not vividset's package `{name}`, but Python finds it first{_owners(name)}: rename it, "
            "remove its folder from PYTHONPATH, or install vividset into an environment of its own"
        )
    with open(own, "rb") as file:
        if MARKER not in file.read(200):
            return (
                f"vividset's package `{name}` in {HOME} was overwritten{_owners(name)}: install vividset into an "
                "environment of its own, or uninstall the other package and reinstall vividset"
            )
    return ""


def find_shadowed_module() -> str:
    """Return which file hides a module that vividset needs, if there is one in the current folder; else an empty text.

    Only a folder in PYTHONPATH can do that; see `leave_script_folder`.
    """
    here = os.path.abspath(os.curdir)
    for name, module in list(sys.modules.items()):
        file = os.path.abspath(getattr(module, "__file__", None) or "/")
        is_here = os.path.dirname(file) == here or os.path.dirname(file) == os.path.join(here, name)
        if is_here and here != HOME and name in sys.stdlib_module_names | DEPENDENCIES:
            return (
                f"{file} hides the Python module `{name}`, which vividset needs: rename it, or remove its folder from "
                "PYTHONPATH"
            )
    return ""


def _owners(name: str) -> str:
    """The other distributions that have a package of that name, in brackets; slow, so only for an error."""
    from importlib.metadata import packages_distributions

    owners = sorted(set(packages_distributions().get(name, [])) - {"vividset"})
    return f" (it belongs to the distribution {', '.join(owners)})" if owners else ""
