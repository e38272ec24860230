"""Everything that vividset raises on purpose, in one tree.

    VividsetError                 one line that says what to do next; the commands exit 1
    ├── UsageError                options that contradict each other; the commands exit 2
    ├── SourceError               a folder or list of photos can't be read at all
    ├── ManifestError             a manifest is missing, foreign, too new or can't be written
    ├── ScanError                 a scan can't start or go on (locked, source lost, disk full)
    ├── OutputError               a pack or an export can't start or go on (locked, foreign folder, disk full)
    ├── EngineError               the chosen engine can't run
    ├── TrainingError             training can't start or go on
    ├── CheckpointError           a checkpoint is missing, foreign or damaged
    └── PhotoError                one photo can't be used: becomes a row, never stops a run
        ├── EmptyFile             zero bytes
        ├── NotAPhoto             the content is no picture, whatever the name says
        ├── UnsupportedFormat     a picture, but of a kind that isn't decoded here
        ├── BrokenPhoto           truncated or malformed
        ├── BrokenTar             a tar of photos is cut off or damaged; what lies before that is scored
        ├── TooManyPixels         larger than --max-pixels; nothing was decoded
        ├── FileTooLarge          more bytes than are read into memory
        ├── NothingVisible        every pixel is fully transparent
        ├── NotAFile              a pipe, socket, device, or a folder with a photo's name
        ├── NoPermission          the file or folder can't be opened
        ├── Vanished              listed, then gone
        ├── ChangedWhileRead      written to while it was being read
        ├── ChangedSinceScan      another file by now than the manifest's
        ├── ReadFailed            the disk or network said no
        ├── OutOfMemory           decoding wanted more memory than there is
        ├── TimedOut              the decoder hung
        ├── WorkerDied            the decoder took its process with it
        └── PlaceTaken            something else lies where its picture would go

Foreign errors are mapped to this tree once, where they enter (`from exc`). What isn't in it is a bug.
"""

from __future__ import annotations


class VividsetError(Exception):
    """Base of all; its text is one line that ends in what to do next."""


class UsageError(VividsetError):
    """Options that contradict each other."""


class SourceError(VividsetError):
    """A folder or list of photos can't be read at all."""


class ManifestError(VividsetError):
    """A manifest is missing, foreign, too new, incomplete or can't be written."""


class ScanError(VividsetError):
    """A scan can't start or go on; finished parts are kept."""


class OutputError(VividsetError):
    """A pack or an export can't start or go on; what is finished is kept."""


class EngineError(VividsetError):
    """The chosen engine can't run."""


class TrainingError(VividsetError):
    """Training can't start or go on."""


class CheckpointError(VividsetError):
    """A checkpoint is missing, foreign or damaged."""


class PhotoError(VividsetError):
    """One photo can't be used. In a manifest it is the row's `error`: `Kind: what was wrong`."""

    transient = False
    """Whether trying again later may help, without the file being changed."""

    def __str__(self) -> str:
        return f"{type(self).__name__}: {super().__str__()}"


class EmptyFile(PhotoError):
    """Zero bytes."""


class NotAPhoto(PhotoError):
    """The content is no picture, whatever the name says."""


class UnsupportedFormat(PhotoError):
    """A picture, but of a kind that isn't decoded here."""


class BrokenPhoto(PhotoError):
    """Truncated or malformed."""


class BrokenTar(PhotoError):
    """A tar of photos is cut off or damaged; what lies before that is scored."""


class TooManyPixels(PhotoError):
    """Larger than the limit; nothing was decoded."""


class FileTooLarge(PhotoError):
    """More bytes than are read into memory."""


class NothingVisible(PhotoError):
    """Every pixel is fully transparent."""


class NotAFile(PhotoError):
    """A pipe, socket, device, or a folder with a photo's name."""


class NoPermission(PhotoError):
    """The file or folder can't be opened."""

    transient = True


class Vanished(PhotoError):
    """Listed, then gone."""

    transient = True


class ChangedWhileRead(PhotoError):
    """Written to while it was being read."""

    transient = True


class ChangedSinceScan(PhotoError):
    """Another file by now than the manifest's."""


class ReadFailed(PhotoError):
    """The disk or network said no."""

    transient = True


class OutOfMemory(PhotoError):
    """Decoding wanted more memory than there is."""

    transient = True


class TimedOut(PhotoError):
    """The decoder hung."""


class WorkerDied(PhotoError):
    """The decoder took its process with it."""


class PlaceTaken(PhotoError):
    """Something else lies where its picture would go."""


TRANSIENT_KINDS = frozenset(kind.__name__ for kind in PhotoError.__subclasses__() if kind.transient)
"""Names of the errors that a later scan tries again by itself."""
