"""Stage one of vividset: photos in, manifest out. This module is the public Python API.

Names are imported when they are first used: `import curate` loads no other library. Photos are measured by `measure`
(one photo) and `scan_photos` (a collection, into a manifest); `filter_manifest` selects photos by their measures.

The packages behind it, each of which imports only those below it:

- `curate.cli`: the commands; they parse options, call a function of the API and print
- `curate.api`: the functions of the public API, with keyword arguments named as the commands' options
- `curate.explain`: why one photo is kept or rejected
- `curate.scanning`, `curate.filtering`, `curate.packing`, `curate.exporting`, `curate.report`: what the commands do
- `curate.sources`, `curate.executors`: where photos are stored, and where work runs
- `curate.manifest`, `curate.image`, `curate.measures`: Parquet files, decoding, measures of pixels
- `curate.files`, `curate.locations`: outputs written whole; local paths and URLs
- `curate.text`, `curate.unicode`, `curate.version`, `curate.interrupts`, `curate.cores`, `curate.process_settings`,
  `curate.errors`: support
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.api.manifests import (
        filter_manifest,
        inspect_manifest,
        merge_manifests,
        read_manifest,
        scan_photos,
    )
    from curate.api.outputs import export_photos, pack_photos, write_report
    from curate.api.photos import decode, explain_photo, measure
    from curate.errors import PhotoError, VividsetError
    from curate.filtering.options import FilterOptions
    from curate.manifest.lineage import Lineage
    from curate.measures.colorfulness import colorfulness
    from curate.measures.measure import Measures
    from curate.packing.pack import PackOptions
    from curate.scanning.scan import ScanOptions
    from curate.version import __version__

_MODULES = {
    "FilterOptions": "filtering.options",
    "Lineage": "manifest.lineage",
    "Measures": "measures.measure",
    "PackOptions": "packing.pack",
    "PhotoError": "errors",
    "ScanOptions": "scanning.scan",
    "VividsetError": "errors",
    "__version__": "version",
    "colorfulness": "measures.colorfulness",
    "decode": "api.photos",
    "explain_photo": "api.photos",
    "export_photos": "api.outputs",
    "filter_manifest": "api.manifests",
    "inspect_manifest": "api.manifests",
    "measure": "api.photos",
    "merge_manifests": "api.manifests",
    "pack_photos": "api.outputs",
    "read_manifest": "api.manifests",
    "scan_photos": "api.manifests",
    "write_report": "api.outputs",
}
"""The module that defines each public name."""
__all__ = [
    "FilterOptions",
    "Lineage",
    "Measures",
    "PackOptions",
    "PhotoError",
    "ScanOptions",
    "VividsetError",
    "__version__",
    "colorfulness",
    "decode",
    "explain_photo",
    "export_photos",
    "filter_manifest",
    "inspect_manifest",
    "measure",
    "merge_manifests",
    "pack_photos",
    "read_manifest",
    "scan_photos",
    "write_report",
]


if not TYPE_CHECKING:  # a type checker must report names that do not exist

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
