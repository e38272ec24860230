"""All errors that vividset raises on purpose, in one class tree.

    VividsetError                 one line that says what to do next; the commands exit with 1
    ├── UsageError                options contradict each other; the commands exit with 2
    ├── SourceError               a folder or list of photos can't be read at all
    ├── ManifestError             a manifest is missing, of another tool, too new, or can't be written
    ├── ScanError                 a scan can't start or continue (locked, source lost, disk full)
    ├── OutputError               an output can't be written, or a pack or an export can't start or continue (locked)
    ├── EngineError               the chosen engine can't run
    ├── TrainingError             training can't start or continue
    ├── CheckpointError           a checkpoint is missing, of another tool, or damaged
    └── PhotoError                one photo can't be used: it becomes a row with an error and never stops a run;
                                  its subclasses are the kinds of error

Errors of the system and of libraries are converted to this tree once, where they enter (`raise ... from exc`). Any
other exception is a bug. The names of the kinds are stored in manifests, so they must not change.
"""

from __future__ import annotations


class VividsetError(Exception):
    """Base class of all errors of vividset; the text is one line: what happened, then what to do next."""


class UsageError(VividsetError):
    """Options contradict each other or have a wrong value."""


class SourceError(VividsetError):
    """A folder or list of photos can't be read at all."""


class ManifestError(VividsetError):
    """A manifest is missing, of another tool, too new, incomplete, or can't be written."""


class ScanError(VividsetError):
    """A scan can't start or continue; finished part files are kept."""


class OutputError(VividsetError):
    """An output can't be written, or a pack or an export can't start or continue; finished files are kept."""


class EngineError(VividsetError):
    """The chosen engine can't run."""


class TrainingError(VividsetError):
    """Training can't start or continue."""


class CheckpointError(VividsetError):
    """A checkpoint is missing, of another tool, or damaged."""


class PhotoError(VividsetError):
    """One photo can't be used. In a manifest it is the row's `error`: `Kind: what was wrong`."""

    transient = False
    """Whether a later try may succeed without a change of the file."""

    def __str__(self) -> str:
        return f"{type(self).__name__}: {super().__str__()}"


class EmptyFile(PhotoError):
    """The file has zero bytes."""


class NotAPhoto(PhotoError):
    """The content is not a photo, whatever the name says."""


class UnsupportedFormat(PhotoError):
    """An image or camera raw file of a format or kind that is not decoded."""


class BrokenPhoto(PhotoError):
    """The photo is truncated or malformed."""


class BrokenTar(PhotoError):
    """The tar is truncated or damaged; members before the damage are measured."""


class BrokenZip(PhotoError):
    """The ZIP, or a member of it, is truncated or damaged."""


class BrokenTable(PhotoError):
    """The Parquet or Arrow file, or a part of it, is truncated or damaged."""


class TooManyPixels(PhotoError):
    """The photo is larger than --max-pixels; it was not decoded."""


class FileTooLarge(PhotoError):
    """The file has more bytes than are read into memory."""


class NothingVisible(PhotoError):
    """Every pixel is fully transparent."""


class NotAFile(PhotoError):
    """A pipe, a socket, a device, or a folder with a photo's name."""


class NoPermission(PhotoError):
    """The file or folder can't be opened."""

    transient = True


class Vanished(PhotoError):
    """The photo was listed, but was gone when it was read."""

    transient = True


class ChangedWhileRead(PhotoError):
    """The file was written to while it was read."""

    transient = True


class ChangedSinceScan(PhotoError):
    """Not the same file as in the manifest."""


class ReadFailed(PhotoError):
    """The disk or the network reported an error."""

    transient = True


class OutOfMemory(PhotoError):
    """Decoding needed more memory than there is."""

    transient = True


class TimedOut(PhotoError):
    """Reading or decoding took longer than --timeout."""


class WorkerDied(PhotoError):
    """Decoding ended its process."""


class PlaceTaken(PhotoError):
    """Another file exists where the picture would be written."""


TRANSIENT_KINDS = frozenset(kind.__name__ for kind in PhotoError.__subclasses__() if kind.transient)
"""Names of the kinds that the next scan tries again."""
