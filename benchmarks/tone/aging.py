"""Simulate toned prints and scanned colour photos, in batches on a GPU, to train the tone network.

`toning.py` changes one picture at full size. This module makes thousands per second, at twice the size of the
detector's grid, and with other methods, so that the pictures of `toning.py` can evaluate a network trained on these.

Pictures are (n, 3, ROWS, COLUMNS) float32: sRGB 0..1 (`rgb`) or CIELAB with L 0..100 (`lab`). Each function draws
its own random numbers for each of the n pictures; `share` is the share of pictures that it changes.
"""

from __future__ import annotations

import math

import torch
from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor
from torch.nn import functional

from curate.measures.tone.features import GRID_COLUMNS, GRID_ROWS

ROWS, COLUMNS = 2 * GRID_ROWS, 2 * GRID_COLUMNS
KNOTS = 6
"""Points of a toning curve over lightness."""


class PrintSimulator:
    """Random changes of a batch of pictures, on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.down = torch.linspace(-1, 1, ROWS, device=device).view(1, 1, ROWS, 1)
        self.across = torch.linspace(-1, 1, COLUMNS, device=device).view(1, 1, 1, COLUMNS)

    def toned(self, rgb: Tensor) -> Tensor:
        """Any picture as a toned monochrome, lab: by a curve in (a, b), a curve for each channel, or as a cyanotype."""
        light = self._developed(rgb)
        drawn = self._between(len(rgb), 0, 1)
        by_channel = torch.where(drawn < 0.88, self._duotone(light), self._cyanotype(light))
        return torch.where(drawn < 0.55, self._curve_in_ab(light), rgb_to_lab(by_channel))

    def turned(self, lab: Tensor, share: float, weakest: float, strongest: float) -> Tensor:
        """Chroma times e^weakest to e^strongest, and all hues turned by one angle."""
        n = len(lab)
        angle = (self._angle(n) * self._some(n, share))[:, 0]
        factor = self._between(n, weakest, strongest).exp()[:, 0]
        a, b = lab[:, 1], lab[:, 2]
        cos, sin = angle.cos() * factor, angle.sin() * factor
        return torch.stack([lab[:, 0], a * cos - b * sin, a * sin + b * cos], 1)

    def lit(self, rgb: Tensor) -> Tensor:
        """A colour photo under other light and settings, lab: white balance, contrast, saturation."""
        n = len(rgb)
        cast = torch.where(self._some(n, 0.15) > 0, 0.18, 0.05)
        rgb = (rgb * (self._normal(n, 3) * cast).exp()).clamp(0, 1)
        rgb = torch.where(self._some(n, 0.5) > 0, self._contrast(rgb), rgb)
        return self.turned(rgb_to_lab(rgb), 0.05, -0.35, 0.45)

    def aged(self, lab: Tensor, share: float) -> Tensor:
        """Fading, staining and coloured light that change smoothly over the picture."""
        n = len(lab)
        light, ab = lab[:, :1], lab[:, 1:]
        chroma = ab.square().sum(1, keepdim=True).mean((2, 3), keepdim=True).sqrt()
        ab = ab * (self._some(n, share / 2) * self._between(n, 0, 0.45) * self._smooth(n)).exp()
        mean = ab.mean((2, 3), keepdim=True)
        along = mean / (mean.norm(dim=1, keepdim=True) + 1e-3)
        shift = self._smooth(n) * along + self._between(n, 0, 0.5) * self._smooth(n, 2)
        ab = ab + self._some(n, share / 2) * self._between(n, 0, 0.25) * (chroma + 4) * shift
        blot = torch.sigmoid(self._smooth(n, 1, 5, 6) * 6 - self._between(n, 2, 7)) * self._some(n, 0.3 * share)
        ab = ab + blot * functional.normalize(along + 0.5 * self._normal(n, 2), dim=1) * self._between(n, 4, 25)
        light = light - blot * self._between(n, -5, 15)
        lamps = self._smooth(n, 2, 3, 3) * self._between(n, 2, 14) * self._some(n, 0.22 * share)
        ab = ab + lamps * (0.3 + light / 100)
        corner = (
            (self.down**2 + self.across**2).clamp(max=1.6) * self._some(n, 0.35 * share) * self._between(n, 0, 0.45)
        )
        light = light * (1 - corner) + self._some(n, 0.2 * share) * self._smooth(n) * self._between(n, 0, 8)
        return torch.cat([light.clamp(0, 100), ab * (1 - corner * self._between(n, -0.8, 1))], 1)

    def stained(self, lab: Tensor, share: float) -> Tensor:
        """One to three stains, mostly brown, with soft or hard edges."""
        n = len(lab)
        tint = torch.rand(n, 3, 1, 1, device=self.device) * self._three(0.32, 0.32, 0.36) + self._three(
            0.58, 0.42, 0.22
        )
        tint = torch.where(self._some(n, 0.35) > 0, self._shuffled(tint), tint)
        rgb, spoiled = lab_to_rgb(lab), self._some(n, share)
        for likely in (1, 0.66, 0.33):
            edge = (self._cloud(n) - self._between(n, 0.4, 0.75)) / self._between(n, 0.03, 0.35)
            cover = edge.clamp(0, 1) * self._between(n, 0.1, 0.65) * spoiled * self._some(n, likely)
            rgb = rgb * (1 - cover + cover * tint)
        return rgb_to_lab(rgb)

    def vignetted(self, lab: Tensor, share: float) -> Tensor:
        """Lighter or darker, paler or stronger, and cast towards the edges."""
        n = len(lab)
        off_down, off_across = self._between(n, -0.25, 0.25), self._between(n, -0.25, 0.25)
        squares = (self.down - off_down) ** 2 + (self.across - off_across) ** 2
        edge = (squares / self._between(n, 1.2, 2.2)).clamp(0, 1) * self._some(n, share)
        light = lab[:, :1] * (1 - self._between(n, -0.35, 0.6) * edge)
        ab = lab[:, 1:] * (1 - self._between(n, -0.6, 0.9) * edge)
        return torch.cat([light, ab + edge * self._hue(n) * self._between(n, 0, 9)], 1)

    def mounted(self, lab: Tensor, share: float) -> Tensor:
        """On a mount of its own or another colour, with uneven margins."""
        n = len(lab)
        top, left, bottom, right = (self._some(n, 0.7) * self._between(n, 0, 0.45) for _ in range(4))
        inside = (self.across > left - 1) & (self.across < 1 - right) & (self.down > top - 1) & (self.down < 1 - bottom)
        far = torch.where(self._some(n, 0.25) > 0, 60.0, 25.0)
        other = self._hue(n) * self._between(n, 0, 1) ** 2 * far
        own = lab[:, 1:].mean((2, 3), keepdim=True) * self._between(n, 0, 1) + 3 * self._normal(n, 2)
        ab = torch.where(self._some(n, 0.5) > 0, own, other) + self._smooth(n, 2) * self._between(n, 0, 1.5)
        light = torch.where(self._some(n, 0.55) > 0, self._between(n, 75, 99), self._between(n, 3, 80))
        board = torch.cat([light + self._smooth(n) * self._between(n, 0, 4), ab], 1)
        return torch.where(inside | (self._some(n, share) == 0), lab, board)

    def captioned(self, lab: Tensor, other: Tensor, share: float) -> Tensor:
        """A patch, a strip or a colour checker over part of it; a patch may show another picture (lab)."""
        n = len(lab)
        drawn = self._between(n, 0, 1)
        bottom, top = self.down > 1 - self._between(n, 0.06, 0.3), self.down < self._between(n, 0.06, 0.2) - 1
        strip = torch.where(self._some(n, 0.5) > 0, bottom, top).expand(n, 1, ROWS, COLUMNS)
        side = (self.across > 1 - self._between(n, 0.06, 0.18)).expand(n, 1, ROWS, COLUMNS)
        where = torch.where(drawn < 0.4, self._patch(n), torch.where(drawn < 0.75, strip, side))
        plain = torch.cat([self._between(n, 15, 95), self._hue(n) * self._between(n, 5, 75)], 1).expand_as(lab)
        patches = functional.interpolate(torch.rand(n, 3, 8, 1, device=self.device), (ROWS, COLUMNS))
        ink = torch.where(self._some(n, 0.6) > 0, plain, other)
        ink = torch.where(drawn < 0.75, ink, rgb_to_lab(patches))
        return torch.where(where & (self._some(n, share) > 0), ink, lab)

    def scanned(self, lab: Tensor) -> Tensor:
        """(n, 3, GRID_ROWS, GRID_COLUMNS) rgb: with noise, and averaged into the grid's cells."""
        n = len(lab)
        grain = torch.randn(n, 1, ROWS, COLUMNS, device=self.device) * self._between(n, 0, 3)
        chroma = torch.randn(n, 2, ROWS, COLUMNS, device=self.device) * self._between(n, 0, 4) * self._some(n, 0.4)
        return functional.avg_pool2d(lab_to_rgb(lab + torch.cat([grain, chroma], 1)).clamp(0, 1), 2)

    def cut(self, rgb: Tensor, least: float) -> Tensor:
        """(n, 3, h, w) pictures at ROWS × COLUMNS: 4 in 10 whole, the others a part of each side; half mirrored."""
        n = len(rgb)
        whole = torch.rand(n, device=self.device) < 0.4
        scale = torch.rand(n, 2, device=self.device) * (1 - least) + least
        scale = torch.where(whole[:, None], torch.ones_like(scale), scale)
        shift = (torch.rand(n, 2, device=self.device) * 2 - 1) * (1 - scale)
        mirror = torch.where(torch.rand(n, device=self.device) < 0.5, -1.0, 1.0)
        zero = torch.zeros_like(mirror)
        across = torch.stack([scale[:, 0] * mirror, zero, shift[:, 0]], 1)
        down = torch.stack([zero, scale[:, 1], shift[:, 1]], 1)
        places = functional.affine_grid(torch.stack([across, down], 1), [n, 3, ROWS, COLUMNS], align_corners=False)
        return functional.grid_sample(rgb, places, padding_mode="border", align_corners=False)

    def _developed(self, rgb: Tensor) -> Tensor:
        """(n, 1, h, w) brightness 0..1 as films of different sensitivity to colours see it."""
        n = len(rgb)
        weights = self._three(0.299, 0.587, 0.114) * (0.5 * self._normal(n, 3)).exp()
        return self._contrast((rgb * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True))

    def _contrast(self, levels: Tensor) -> Tensor:
        n = len(levels)
        dark = self._some(n, 0.4) * self._between(n, 0, 0.25)
        light = 1 - self._some(n, 0.4) * self._between(n, 0, 0.25)
        return dark + (light - dark) * levels.clamp(1e-6, 1) ** (0.3 * self._normal(n, 1)).exp()

    def _curve_in_ab(self, light: Tensor) -> Tensor:
        """Chroma and hue by lightness: often neutral shadows or lights, one hue in five split into two."""
        n = len(light)
        knots = torch.arange(KNOTS, device=self.device).view(1, 1, 1, KNOTS)
        brown = torch.rand(n, 1, 1, 1, device=self.device) * 100 + 10
        hue = torch.where(self._some(n, 0.6) > 0, brown * math.pi / 180, self._angle(n))
        drift = self._between(n, -0.5, 0.5) * (knots / (KNOTS - 1) - 0.5)
        hue = hue + drift + 0.12 * torch.randn(n, 1, 1, KNOTS, device=self.device)
        split = (self._some(n, 0.2) > 0) & (knots < self._between(n, 1, KNOTS))
        hue = torch.where(split, self._angle(n), hue)
        chroma = self._between(n, math.log(5), math.log(60)).exp() * (
            0.4 + 0.8 * torch.rand(n, 1, 1, KNOTS, device=self.device)
        )
        neutral = self._some(n, 0.45)
        chroma = torch.where((knots == 0) & (neutral > 0), chroma * self._between(n, 0, 0.5), chroma)
        deeper = (neutral > 0) & (self._some(n, 0.5) > 0)
        chroma = torch.where((knots == 1) & deeper, chroma * self._between(n, 0, 1), chroma)
        paper = (knots == KNOTS - 1) & (self._some(n, 0.4) > 0)
        chroma = torch.where(paper, chroma * self._between(n, 0, 0.6), chroma)
        lightness = rgb_to_lab(light.expand(-1, 3, -1, -1))[:, :1]
        curve = torch.cat([hue.cos() * chroma, hue.sin() * chroma], 1)[:, :, 0]
        return torch.cat([lightness, _interpolated(curve, lightness / 100)], 1)

    def _duotone(self, light: Tensor) -> Tensor:
        """A dark colour to a light one with a gamma for each channel; one in three keeps one ratio and clips. rgb."""
        n = len(light)
        top = torch.rand(n, 3, 1, 1, device=self.device) * 0.55 + 0.5
        top = torch.where(self._some(n, 0.5) > 0, 0.4 * top + 0.6 * self._three(1.0, 0.85, 0.6), top)
        dark = torch.rand(n, 3, 1, 1, device=self.device) * 0.3 * self._some(n, 0.4)
        curved = dark + (top - dark) * light ** (0.3 * self._normal(n, 3)).exp()
        ratio = (top / top.mean(1, keepdim=True)) ** self._between(n, 0.5, 2)
        return torch.where(self._some(n, 0.35) > 0, light * ratio, curved).clamp(0, 1)

    def _cyanotype(self, light: Tensor) -> Tensor:
        """A deep colour, mostly blue, to paper; rgb."""
        n = len(light)
        dark = self._three(0.08, 0.18, 0.38) * (0.35 * self._normal(n, 3)).exp()
        dark = torch.where(self._some(n, 0.4) > 0, self._shuffled(dark), dark)
        paper = 1 - 0.22 * torch.rand(n, 3, 1, 1, device=self.device)
        harder = ((light - 0.5) * self._between(n, 0.8, 1.8) + 0.5).clamp(1e-6, 1)
        return (dark + (paper - dark) * harder ** self._between(n, 0.6, 1.6)).clamp(0, 1)

    def _between(self, n: int, low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, device=self.device) * (high - low) + low

    def _some(self, n: int, share: float) -> Tensor:
        return (torch.rand(n, 1, 1, 1, device=self.device) < share).float()

    def _normal(self, n: int, channels: int) -> Tensor:
        return torch.randn(n, channels, 1, 1, device=self.device)

    def _angle(self, n: int) -> Tensor:
        return self._between(n, -math.pi, math.pi)

    def _hue(self, n: int) -> Tensor:
        angle = self._angle(n)
        return torch.cat([angle.cos(), angle.sin()], 1)

    def _three(self, *levels: float) -> Tensor:
        return torch.tensor(levels, device=self.device).view(1, 3, 1, 1)

    def _shuffled(self, channels: Tensor) -> Tensor:
        n = len(channels)
        return channels.expand(n, 3, 1, 1).gather(1, torch.rand(n, 3, device=self.device).argsort(1).view(n, 3, 1, 1))

    def _smooth(self, n: int, channels: int = 1, rows: int = 4, columns: int = 5) -> Tensor:
        coarse = torch.randn(n, channels, rows, columns, device=self.device)
        return functional.interpolate(coarse, (ROWS, COLUMNS), mode="bicubic", align_corners=True)

    def _cloud(self, n: int) -> Tensor:
        side = int(torch.randint(3, 8, ()))
        field = torch.rand(n, 1, side, side, device=self.device)
        field = functional.interpolate(field, (ROWS, COLUMNS), mode="bicubic", align_corners=True)
        low, high = field.amin((2, 3), keepdim=True), field.amax((2, 3), keepdim=True)
        return (field - low) / (high - low + 1e-6)

    def _patch(self, n: int) -> Tensor:
        half_down, half_across = self._between(n, 0.05, 0.28), self._between(n, 0.05, 0.28)
        middle_down = self._between(n, -1, 1) * (1 - half_down)
        middle_across = self._between(n, -1, 1) * (1 - half_across)
        return ((self.down - middle_down).abs() < half_down) & ((self.across - middle_across).abs() < half_across)


def _interpolated(knots: Tensor, place: Tensor) -> Tensor:
    """(n, 2, h, w): the (n, 2, KNOTS) curve at (n, 1, h, w) places 0..1."""
    at = place.clamp(0, 1) * (knots.shape[2] - 1)
    first = at.floor().clamp(max=knots.shape[2] - 2)
    n, _, rows, columns = place.shape
    index = first.long().view(n, 1, -1).expand(n, 2, -1)
    low = knots.gather(2, index).view(n, 2, rows, columns)
    high = knots.gather(2, index + 1).view(n, 2, rows, columns)
    return low + (high - low) * (at - first)
