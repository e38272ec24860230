"""Make hundreds of thousands of colour and toned pictures to train the tone network; see train_network.py."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
from aging import PrintSimulator
from kornia.color import rgb_to_lab
from numpy.typing import NDArray
from regression import ARCHIVES, COLORFUL_M, batches
from torch import Tensor

from curate.image.decode import decode_bytes
from curate.image.formats import PHOTO_SUFFIXES
from curate.measures.measure import make_small_copy
from curate.measures.tone.classify import classify_tones

NO_FOLD = -1
"""The fold of photos that are not evaluated; training without this fold leaves nothing out."""
BASE_SIDE_PX = 64
MORE_PHOTOS, MORE_SCORE, MORE_CHROMA = 10_000, -2.0, 6.0
"""Number of photos of FOLDER, their highest tone_score and lowest mean chroma: they surely are colour photos."""
POOL_PICTURES, BATCH = 220_000, 384
LOUD_SHARE, DULL_SHARE = 0.5, 0.08
"""Shares of the colour pictures made from labelled photos with M >= 20 and below it; the others are from FOLDER."""
REAL_SHARE, GRAY_SHARE, RECOLOURED_SHARE = 0.4, 0.1, 0.2
"""Shares of the toned pictures made from real prints, gray photos and labelled colour; the others are from FOLDER."""
LEAST_M_REAL, LEAST_M_DULL = 6.0, 8.0


def bases(data: Path, more: Path, out: Path) -> None:
    """Pack the photos that pictures are made from."""
    rows, packed = [], []
    for row, small in itertools.chain.from_iterable(batches(data)):
        if row["kind"] in ("original", "archive", "print"):
            rows.append((row["source"], row["truth"], row["colorfulness"], row["fold"]))
            packed.append(_packed(small))
    for small in select_more_photos(more):
        rows.append(("more", "color", COLORFUL_M, NO_FOLD))
        packed.append(_packed(small))
    source, truth, colorfulness, fold = map(np.array, zip(*rows, strict=True))
    np.savez(
        out,
        jpegs=np.frombuffer(b"".join(packed), np.uint8),
        ends=np.cumsum([0, *map(len, packed)]),
        source=source,
        truth=truth,
        colorfulness=colorfulness,
        fold=fold,
    )
    print(len(packed), "photos")


def select_more_photos(folder: Path) -> list[NDArray[np.uint8]]:
    """Select MORE_PHOTOS photos that surely are colour: half the ones nearest to the threshold, half at random."""
    found: list[tuple[float, NDArray[np.uint8]]] = []
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    for first in range(0, len(paths), 500):
        smalls = [make_small_copy(decode_bytes(path.read_bytes()).pixels)[0] for path in paths[first : first + 500]]
        for small, said in zip(smalls, classify_tones(smalls), strict=True):
            if said.tone == "color" and said.tone_score < MORE_SCORE and said.tone_chroma > MORE_CHROMA:
                found.append((said.tone_score, small))
    found.sort(key=lambda each: -each[0])
    doubted, others = found[: MORE_PHOTOS // 2], found[MORE_PHOTOS // 2 :]
    drawn = np.random.default_rng(0).permutation(len(others))[: MORE_PHOTOS // 2]
    return [small for _, small in doubted] + [others[place][1] for place in drawn]


def _packed(small: NDArray[np.uint8]) -> bytes:
    square = cv2.resize(small, (BASE_SIDE_PX, BASE_SIDE_PX), interpolation=cv2.INTER_AREA)
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(square), quality=90, colorsubsampling="444")
    return jpeg


@dataclass(frozen=True, slots=True)
class Bases:
    """Photos to make pictures from, on one device."""

    photos: Tensor
    """(n, 3, BASE_SIDE_PX, BASE_SIDE_PX) uint8 sRGB."""
    folds: Tensor
    """(n,) int8."""
    kinds: Mapping[str, Tensor]
    """Places of the loud, dull, real (toned prints of the archives), prints (of the one archive), gray and more."""

    @classmethod
    def read(cls, path: Path, device: torch.device) -> Bases:
        """Read the file that `bases` wrote."""
        packed = np.load(path)
        jpegs, ends = packed["jpegs"].tobytes(), packed["ends"].tolist()
        photos = [simplejpeg.decode_jpeg(jpegs[one:other]) for one, other in itertools.pairwise(ends)]
        source, truth, colorful = packed["source"], packed["truth"], packed["colorfulness"]
        own = (source != "more") & (truth == "color")
        kinds = {
            "loud": own & (colorful >= COLORFUL_M),
            "dull": own & (colorful >= LEAST_M_DULL) & (colorful < COLORFUL_M),
            "real": (source == ARCHIVES) & (truth == "toned") & (colorful >= LEAST_M_REAL),
            "prints": source == "prints",
            "gray": truth == "grayscale",
            "more": source == "more",
        }
        return cls(
            torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous().to(device),
            torch.from_numpy(packed["fold"].astype(np.int8)).to(device),
            {kind: torch.from_numpy(np.flatnonzero(which)).to(device) for kind, which in kinds.items()},
        )

    def draw(self, counts: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """(n, 3, h, w) rgb 0..1 and their folds."""
        places = []
        for kind, count in counts.items():
            among = self.kinds[kind]
            places.append(among[torch.randint(len(among), (count,), device=among.device)])
        chosen = torch.cat(places)
        return self.photos[chosen].float() / 255, self.folds[chosen]


@torch.no_grad()
def pool(source: Path, out: Path, seed: int, count: int, device: torch.device) -> None:
    """Make pictures and write to `out`: x (n, 3, 32, 40) uint8 sRGB, toned (n,), weight (n,) and fold (n,)."""
    torch.manual_seed(1000 + seed)
    found, simulator = Bases.read(source, device), PrintSimulator(device)
    batches = [_batch(found, simulator, BATCH // 2) for _ in range(count // BATCH)]
    x, toned, weight, fold = (torch.cat(column).cpu() for column in zip(*batches, strict=True))
    torch.save({"x": x, "toned": toned, "weight": weight, "fold": fold}, out)
    print(len(x), "pictures")


def _batch(found: Bases, simulator: PrintSimulator, half: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    other = rgb_to_lab(simulator.cut(found.draw({"more": half})[0], 0.55))
    colour, colour_fold = _coloured(found, simulator, half)
    colour = simulator.captioned(simulator.mounted(colour, 0.12), other, 0.06)
    toned, toned_fold = _toned(found, simulator, half)
    toned = simulator.captioned(simulator.mounted(toned, 0.25), other, 0.12)
    x = simulator.scanned(torch.cat([colour, toned]))
    chroma = rgb_to_lab(x)[:, 1:].square().sum(1).mean((1, 2)).sqrt()
    weight = ((chroma - 3) / 7).clamp(0.05, 1)  # pictures that are nearly gray count little
    truth = torch.cat([torch.zeros(half), torch.ones(half)])
    return (x * 255).round().byte().cpu(), truth, weight.cpu(), torch.cat([colour_fold, toned_fold]).cpu()


def _coloured(found: Bases, simulator: PrintSimulator, half: int) -> tuple[Tensor, Tensor]:
    counts = {"loud": int(half * LOUD_SHARE), "dull": int(half * DULL_SHARE)}
    rgb, fold = found.draw(counts | {"more": half - sum(counts.values())})
    rgb = simulator.cut(rgb, 0.55)
    as_it_is = torch.rand(half, 1, 1, 1, device=rgb.device) < 0.4
    lab = torch.where(as_it_is, rgb_to_lab(rgb), simulator.lit(rgb))
    return simulator.vignetted(simulator.stained(simulator.aged(lab, 0.2), 0.04), 0.06), fold


def _toned(found: Bases, simulator: PrintSimulator, half: int) -> tuple[Tensor, Tensor]:
    real = int(half * REAL_SHARE)
    prints, print_fold = found.draw({"real": real - real // 4, "prints": real // 4})
    lab = rgb_to_lab(simulator.cut(prints, 0.7))
    as_it_is = torch.rand(real, 1, 1, 1, device=lab.device) < 0.35
    lab = torch.where(as_it_is, lab, simulator.turned(lab, 0.5, -0.5, 0.9))
    counts = {"gray": int(half * GRAY_SHARE), "loud": int(half * RECOLOURED_SHARE)}
    photos, photo_fold = found.draw(counts | {"more": half - real - sum(counts.values())})
    made = simulator.toned(simulator.cut(photos, 0.55))
    lab = torch.cat([simulator.aged(lab, 0.25), simulator.aged(made, 0.5)])
    return simulator.vignetted(simulator.stained(lab, 0.2), 0.15), torch.cat([print_fold, photo_fold])
