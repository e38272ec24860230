"""What an evaluation or a comparison measured, and how: numbers of another protocol don't compare."""

from __future__ import annotations

from dataclasses import dataclass

from curate.text import pluralize

CENTER_CROP = "short side scaled to the size, square cut from the middle"
WHOLE_PICTURE = "whole pictures at the size of the original"
COLOR_SPACE = "loss on CIELAB ab/50, all else on 8-bit sRGB"


@dataclass(frozen=True, slots=True)
class Protocol:
    """What was measured. Numbers with another protocol are not comparable."""

    checkpoint: str
    checkpoint_sha256: str
    manifest: str
    manifest_sha256: str
    split: str
    photos: int
    """Number of photos that could be read."""
    unreadable: int
    size_px: int
    """Side of the squares."""
    lpips_weights_sha256: str | None = None
    fid_weights_sha256: str | None = None
    crop: str = CENTER_CROP
    training_photos: int | None = None
    """Number of photos that the network was trained on, by their sha256; None if its training photos aren't known."""
    parents_known: bool = True
    """Whether the training photos of all checkpoints before it (`--init`) are known, and counted."""
    strength: float = 1.0
    """Factor for the chroma of the network's colors."""
    color_space: str = COLOR_SPACE

    @property
    def judged(self) -> str:
        """What is judged, for the lines below the table."""
        return "the network's predictions"

    def title(self) -> str:
        """Return the title of the page."""
        return f"Evaluation of {self.checkpoint}"

    def describe(self) -> str:
        """Return what was measured, and how, in one sentence."""
        unreadable = f", {self.unreadable:,} more can't be read" if self.unreadable else ""
        return (
            f"{pluralize(self.photos, 'photo')} of {self.manifest} (split {self.split}{unreadable}) "
            f"at {self.size_px} px: {self.crop}; {self.color_space}"
            + (f"; strength {self.strength:g}" if self.strength != 1 else "")
        )

    def describe_hashes(self) -> str:
        """Return the first digits of the SHA-256 of checkpoint and manifest."""
        return (
            f"sha256 of the checkpoint: {self.checkpoint_sha256[:12]}…, of the manifest: {self.manifest_sha256[:12]}…"
        )

    def warning(self) -> str:
        """Return a warning if the network was trained on some of the photos, or may have been; else empty."""
        if count := self.training_photos:
            share = f"all {count:,}" if count == self.photos else f"{count:,} of the {self.photos:,}"
            return (
                f"Warning: the network was trained on {share} photos, so these scores say little about new photos; use "
                "photos that it was not trained on, such as those of --split test"
            )
        if count is None and self.split in ("train", "all"):
            return (
                f"Warning: split {self.split} may have photos that the network was trained on: the list of its "
                "training photos is missing or has changed"
            )
        if not self.parents_known:
            return (
                f"Warning: split {self.split} may have photos that the checkpoint from which this run started "
                "(--init) was trained on: the list of its training photos is missing or has changed"
            )
        return ""


@dataclass(frozen=True, slots=True)
class ComparisonProtocol:
    """What `compare` measured. Numbers with another protocol are not comparable."""

    pictures: str
    """Folder, tar or ZIP of the colorized pictures."""
    truth: str
    """Folder, tar, ZIP or manifest of the originals."""
    truth_sha256: str | None
    """Of the manifest; None if the originals are not from a manifest."""
    split: str | None
    """Of the manifest; None if the originals are not from a manifest."""
    photos: int
    """Number of pairs that were compared."""
    size_px: int | None
    """Side of the squares; None for whole pictures at the size of the original."""
    resized: int
    """Number of pictures of another size than their original; they were scaled to it."""
    stretched: int
    """Number of those that have another aspect ratio, by more than 2 %: they may be cropped, and then don't fit."""
    unmatched: int
    """Number of pictures that have no original."""
    originals_without_picture: int
    unreadable: int
    """Number of pairs of which the picture or the original can't be read."""
    colorless: int
    """Number of pairs that were left out because the original has no color."""
    lpips_weights_sha256: str | None = None
    fid_weights_sha256: str | None = None
    crop: str = CENTER_CROP
    color_space: str = COLOR_SPACE

    @property
    def judged(self) -> str:
        """What is judged, for the lines below the table."""
        return "the pictures"

    def title(self) -> str:
        """Return the title of the page."""
        return f"Comparison of {self.pictures} with {self.truth}"

    def describe(self) -> str:
        """Return what was measured, and how, in one sentence."""
        split = f" (split {self.split})" if self.split else ""
        size = f" at {self.size_px} px" if self.size_px else ""
        resized = f", {self.resized:,} of them scaled to the size of their originals" if self.resized else ""
        return (
            f"{pluralize(self.photos, 'picture')} of {self.pictures}{resized}, compared with the originals in "
            f"{self.truth}{split}{size}: {self.crop}; {self.color_space}"
        )

    def describe_hashes(self) -> str:
        """Return the first digits of the SHA-256 of the manifest, if there is one."""
        return f"sha256 of the manifest: {self.truth_sha256[:12]}…" if self.truth_sha256 else ""

    def warning(self) -> str:
        """Return a warning if pictures were left out, or may not fit their originals; else empty."""
        left_out = {
            "have no original": self.unmatched,
            "can't be read": self.unreadable,
            "have an original without color": self.colorless,
        }
        parts = [f"{count:,} {reason}" for reason, count in left_out.items() if count]
        texts = [f"pictures left out: {', '.join(parts)}"] if parts else []
        if self.stretched:
            texts.append(f"{self.stretched:,} have another aspect ratio than their originals and were stretched")
        return f"Warning: {'; '.join(texts)}" if texts else ""
