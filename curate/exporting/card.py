"""Write the card of an exported data set: `README.md`, as the Hugging Face Hub shows it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.exporting.features import describe_features_for_card
from curate.exporting.names import CARD_NAME
from curate.files import exists, write_atomic
from curate.locations import Location
from curate.manifest import MEASURE_FIELDS, Lineage, Manifest
from curate.text import pluralize
from curate.version import __version__

_MARK = re.compile(r"<!-- vividset card ([0-9a-f]{64}) -->\n$")
"""The last line, with the sha256 of the text before it: a card that was edited is not written again."""
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_MORE_SIZES = ((10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**12, "1B<n<10B"))
"""Categories of the Hub by number of rows."""
_HISTOGRAM_STEP, _HISTOGRAM_END = 10, 100
_NOT_SHOWN = frozenset(
    column.name for column in MEASURE_FIELDS if column.name.startswith("tone_") or column.name.endswith("_deg")
)
"""Measures without a table of percentiles: what decides the tone, and angles."""


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """One split of an export."""

    photos: int
    files: str
    """Pattern of its files, below the output folder; empty if it has none of its own."""
    bytes: int | None = None
    """Of its files; None if unknown."""
    data_bytes: int | None = None
    """Of their content before compression."""


@dataclass(frozen=True, slots=True)
class CardContent:
    """What a card says."""

    read: Manifest
    """The manifest that was exported."""
    rows: pa.Table
    """Its rows whose photos are in the output."""
    splits: Mapping[str, SplitInfo]
    kind: str
    """Of the export; see `TEXTS`."""
    schema: pa.Schema | None = None
    """The columns of Parquet files."""
    features: Mapping[str, Any] = field(default_factory=dict)
    """Features that the source of the photos recorded for them."""


TEXTS = {
    "webdataset": "in WebDataset tars. Each sample has a photo, the files that lay beside it, and its measures as "
    "`.vividset.json`.",
    "imagefolder": "in one folder for each split, each with a `metadata.jsonl`.",
    "copy": "as copies of the original files.",
    "links": "as symbolic links to the original files.",
    "hardlinks": "as hard links to the original files.",
    "parquet": "in Parquet files. The column `image` has the unchanged file of each photo.",
}
"""The end of the first sentence of a card, by the kind of export."""


def write_card(out: Location, card: CardContent) -> bool:
    """Write `README.md` into an output folder; return False if another one is there, which is kept.

    Raises:
        OSError: the system or the store refuses to write it.
    """
    path = out / CARD_NAME
    if exists(path) and not _is_unchanged(path.read_bytes()):
        return False
    text = "\n".join([*_header(card), *_body(card)]) + "\n"
    write_atomic(f"{text}<!-- vividset card {_sha256(text)} -->\n".encode(), path)
    return True


def _is_unchanged(data: bytes) -> bool:
    """Whether a card is as `write_card` wrote it."""
    text = data.decode("utf-8", "replace")
    mark = _MARK.search(text)
    return mark is not None and mark[1] == _sha256(text[: mark.start()])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _header(card: CardContent) -> Iterator[str]:
    """The YAML that the Hub reads. Values are JSON, which is YAML, so that names need no further quoting."""
    count = sum(split.photos for split in card.splits.values())
    sizes = (name for limit, name in (*_SIZES, *_MORE_SIZES) if count < limit)
    yield "---"
    yield "# Choose a license that the photos allow: https://huggingface.co/docs/hub/repositories-licenses"
    yield "# license: ..."
    yield "size_categories:"
    yield f"- {next(sizes, 'n>1T')}"
    if card.schema is not None:
        yield "dataset_info:"
        yield "  features:"
        yield from (f"  - {_json(feature)}" for feature in describe_features_for_card(card.schema, card.features))
        yield "  splits:"
        for name, split in card.splits.items():
            info = {"name": name, "num_bytes": split.data_bytes or 0, "num_examples": split.photos}
            yield f"  - {_json(info)}"
        yield f"  download_size: {sum(split.bytes or 0 for split in card.splits.values())}"
        yield f"  dataset_size: {sum(split.data_bytes or 0 for split in card.splits.values())}"
    if any(split.files for split in card.splits.values()):
        yield "configs:"
        yield "- config_name: default"
        yield "  data_files:"
        for name, split in card.splits.items():
            yield f"  - {_json({'split': name, 'path': split.files})}"
    yield "---"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _body(card: CardContent) -> Iterator[str]:
    yield f"# {_title(card)}"
    yield ""
    yield f"{pluralize(sum(split.photos for split in card.splits.values()), 'photo')} {TEXTS[card.kind]}"
    yield ""
    yield "## Photos"
    yield ""
    yield from _table(["split", "photos"], [(name, f"{split.photos:,}") for name, split in card.splits.items()])
    if "tone" in card.rows.column_names:
        counts = sorted(pc.value_counts(card.rows["tone"].drop_null()).to_pylist(), key=lambda entry: -entry["counts"])
        yield from _table(["tone", "photos"], [(entry["values"], f"{entry['counts']:,}") for entry in counts])
    yield from _measures(card.rows)
    yield from _rules(card.read.lineage)
    yield from _lineage(card.read)


def _title(card: CardContent) -> str:
    return card.read.path.stem.replace("\n", " ")


def _measures(rows: pa.Table) -> Iterator[str]:
    """A histogram of the colorfulness, and percentiles of all measures."""
    numbers = {
        column.name: values
        for column in MEASURE_FIELDS
        if pa.types.is_floating(column.type) and column.name in rows.column_names and column.name not in _NOT_SHOWN
        if len(values := rows[column.name].drop_null().to_numpy())
    }
    if not numbers:
        return
    yield "## Measures"
    yield ""
    if "colorfulness" in numbers:
        yield "Colorfulness is metric M3 of Hasler and Süsstrunk (2003), on all pixels of the full-size photo."
        yield ""
        yield from _table(["colorfulness", "photos", ""], list(_histogram(numbers["colorfulness"])))
    lines = []
    for name, values in numbers.items():
        lines.append((f"`{name}`", *(f"{value:.3g}" for value in np.percentile(values, [0, 5, 50, 95, 100]))))
    yield from _table(["measure", "lowest", "5 %", "median", "95 %", "highest"], lines)


def _histogram(values: Any) -> Iterator[tuple[str, str, str]]:
    steps = np.clip(values // _HISTOGRAM_STEP, 0, _HISTOGRAM_END // _HISTOGRAM_STEP).astype(int)
    counts = np.bincount(steps, minlength=_HISTOGRAM_END // _HISTOGRAM_STEP + 1)
    for number, count in enumerate(counts.tolist()):
        low = number * _HISTOGRAM_STEP
        name = f"{low} to {low + _HISTOGRAM_STEP}" if low < _HISTOGRAM_END else f"{low} and more"
        yield name, f"{count:,}", "█" * round(30 * count / max(1, counts.max()))


def _rules(lineage: Lineage | None) -> Iterator[str]:
    """The options of the command that made the manifest, as far as they have an effect."""
    options = {name: value for name, value in lineage.options.items() if name != "made_by"} if lineage else {}
    used = {name: _without_folders(value) for name, value in options.items() if value not in (None, [], {}, "")}
    lines = [(f"`{name}`", f"`{_json(value)}`") for name, value in used.items()]
    if lineage and lines:
        yield "## Rules" if lineage.kind in ("clean", "rejected") else "## Options"
        yield ""
        yield from _table(["option", "value"], lines)


def _without_folders(value: Any) -> Any:
    """Return the value of an option with file names instead of absolute paths, which a card should not make public."""
    if isinstance(value, dict):
        return {name: _without_folders(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(entry) for entry in value]
    return value.rpartition("/")[2] if isinstance(value, str) and value.startswith("/") else value


def _lineage(read: Manifest) -> Iterator[str]:
    yield "## Lineage"
    yield ""
    yield f"- exported by vividset {__version__} from `{read.path.name}`, sha256 `{read.sha256}`"
    if read.lineage is None:
        yield "- what made this manifest is not known: another program has saved it"
        return
    made_by = f"vividset {read.lineage.tool_version} (scorer {read.lineage.scorer_version})"
    yield f"- made by {made_by}: `{read.lineage.command}`"
    for ancestor in read.lineage.ancestors:
        name = ancestor.get("path", "").rpartition("/")[2]
        yield f"- from `{name}` ({ancestor.get('kind', '')}), sha256 `{ancestor.get('sha256', '')}`"
    if read.lineage.counts:
        yield "- " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in read.lineage.counts.items())


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown, with an empty line after it."""
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for line in lines:
        cells = (cell.replace("|", "\\|").replace("\n", " ") for cell in line)
        yield f"| {' | '.join(cells)} |"
    yield ""
