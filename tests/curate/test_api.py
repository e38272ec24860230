"""The public Python API of `curate`: names, imports, arguments, and the same numbers as the commands."""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import skimage
from PIL import Image, ImageOps

import curate
from curate import errors
from curate.api.bounds import Bounds
from curate.cli import main
from curate.cli.common import CONTEXT_SETTINGS
from curate.filtering.option_values import NUMERIC_MEASURES, Bound
from curate.packing.pack import PackOptions

ROOT = Path(__file__).parent.parent.parent
DATA = Path(skimage.__file__).parent / "data"
REAL_PHOTOS = ("rocket.jpg", "coffee.png", "camera.png", "logo.png", "chelsea.png")

CLI_ONLY = {
    "scan": {"max_errors", "dry_run"},  # exit code and preview of the command
    "filter": {"show"},
    "merge": set(),
    "pack": set(),
    "export": set(),
    "report": set(),
    "explain": set(),
    "inspect": set(),
}
"""Options that only make sense for a command."""
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "scan": curate.scan_photos,
    "filter": curate.filter_manifest,
    "merge": curate.merge_manifests,
    "pack": curate.pack_photos,
    "export": curate.export_photos,
    "report": curate.write_report,
    "explain": curate.explain_photo,
    "inspect": curate.inspect_manifest,
}


def run_python(code: str, *, cwd: Path | None = None) -> str:
    """What a new Python process prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `photos` with real photos: JPEG, PNG, gray, transparent, and one that lies on its side."""
    home = tmp_path_factory.mktemp("home")
    (home / "photos").mkdir()
    for name in REAL_PHOTOS:
        shutil.copy(DATA / name, home / "photos")
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(DATA / "rocket.jpg") as image:
        image.save(home / "photos" / "turned.jpg", exif=exif, quality=90)
    (home / "photos" / "broken.jpg").write_bytes((DATA / "rocket.jpg").read_bytes()[:5000])
    return home


@pytest.fixture(scope="module")
def scan(home: Path) -> Path:
    """A scan of these photos."""
    curate.scan_photos(home / "photos", home / "scan.parquet", engine="serial")
    return home / "scan.parquet"


def test_every_public_name_exists_and_is_listed() -> None:
    for name in curate.__all__:
        assert getattr(curate, name) is not None
        assert name in dir(curate)
    with pytest.raises(AttributeError, match="no attribute 'measures_of'"):
        curate.measures_of  # type: ignore[attr-defined]  # noqa: B018


def test_no_public_name_is_the_name_of_a_submodule() -> None:
    """Importing a submodule sets it as an attribute of the package, in place of the public name."""
    modules = {module.name for module in pkgutil.iter_modules(curate.__path__)}
    assert not modules & set(curate.__all__)
    for name in modules - {"__main__"}:
        importlib.import_module(f"curate.{name}")
    assert all(inspect.isfunction(getattr(curate, name)) for name in curate.__all__ if name in ("measure", "decode"))


def test_import_is_fast_and_loads_no_library() -> None:
    code = (
        "import sys, time; start = time.process_time(); import curate; took = time.process_time() - start; "
        "print(took, any(name in sys.modules for name in ('numpy', 'cv2', 'PIL', 'pyarrow', 'click')))"
    )
    runs = [run_python(code).split() for _ in range(3)]
    assert min(float(seconds) for seconds, _ in runs) < 0.05
    assert {loaded for _, loaded in runs} == {"False"}


def parameters_of(function: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a function; `**bounds: Unpack[Bounds]` counts as those that `Bounds` names."""
    parameters = dict(inspect.signature(function).parameters)
    bounds = parameters.pop("bounds", None)
    if bounds is not None:
        assert (bounds.kind, bounds.annotation) == (bounds.VAR_KEYWORD, "Unpack[Bounds]")
        for bound in Bounds.__annotations__:
            parameters[bound] = bounds.replace(name=bound, kind=bounds.KEYWORD_ONLY, default=None)
    return parameters


def test_every_measure_has_a_lowest_and_a_highest_value_and_no_other_name_is_taken() -> None:
    ends = ("min", "max")
    assert list(Bounds.__annotations__) == [f"{end}_{name}" for name in NUMERIC_MEASURES for end in ends]
    calls: list[Any] = [
        partial(curate.filter_manifest, "scan.parquet", "out.parquet"),
        partial(curate.explain_photo, "a"),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="unexpected keyword argument 'min_color'"):
            call(min_color=3)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_options_and_defaults_of_its_command(name: str) -> None:
    command = main.commands[name]
    context = command.make_context(name, [], resilient_parsing=True, **CONTEXT_SETTINGS)  # its help option is kept
    signature = parameters_of(FUNCTIONS[name])
    for option in command.params:
        if not isinstance(option, click.Option) or option.name in CLI_ONLY[name] | {"help"}:
            continue
        assert option.name in signature, f"--{option.name}"
        default = signature[option.name].default
        if default is not inspect.Parameter.empty:  # a required argument has none, like `out`
            value = context.params[option.name]
            assert (str(value) if isinstance(value, Path) else value) == (
                str(default) if isinstance(default, Path) else default
            ), f"--{option.name}"


def test_the_functions_take_no_arguments_without_names_or_documentation() -> None:
    for name in curate.__all__:
        function = getattr(curate, name)
        if not inspect.isfunction(function):
            continue
        text = inspect.getdoc(function) or ""
        for parameter in parameters_of(function).values():
            assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL), name
            documented = "bounds" in text if parameter.name in Bounds.__annotations__ else parameter.name in text
            assert documented, f"{name}({parameter.name})"


@pytest.mark.parametrize("name", [*REAL_PHOTOS, "turned.jpg"])
def test_measure_gives_the_numbers_of_a_scan(name: str, home: Path, scan: Path) -> None:
    table = curate.read_manifest(scan).table
    (row,) = [row for row in table.drop_columns(["missing_since"]).to_pylist() if row["path"] == name]
    path = home / "photos" / name
    with Image.open(path) as image:
        found = [
            curate.measure(path),
            curate.measure(str(path)),
            curate.measure(path.read_bytes()),
            curate.measure(image),
        ]
    if name != "logo.png":  # an array has no transparency
        found.append(curate.measure(curate.decode(path)))
    for measures in found:
        assert measures.colorfulness == row["colorfulness"]
        assert measures.colorfulness_level == row["colorfulness_level"]
        assert measures.fingerprint == row["fingerprint"]
        for group in (measures.appearance, measures.tone):
            for field in group.__dataclass_fields__:
                value = getattr(group, field)
                assert value == (pytest.approx(row[field], rel=1e-5) if isinstance(value, float) else row[field]), field


def test_a_photo_on_its_side_is_decoded_upright(home: Path) -> None:
    path = home / "photos" / "turned.jpg"
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(curate.decode(image), curate.decode(path))
    assert np.array_equal(curate.decode(path), upright)
    assert curate.decode(path).dtype == np.uint8


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "RGBA", "1", "I;16"])
def test_an_image_of_any_mode_is_measured_as_its_file(mode: str, home: Path) -> None:
    with Image.open(home / "photos" / "coffee.png") as coffee:
        image = (
            coffee.convert("L").convert("I").point(lambda value: value * 256).convert("I;16")
            if mode == "I;16"
            else (coffee.convert(mode))
        )
    file = io.BytesIO()
    image.save(file, "TIFF" if mode == "CMYK" else "PNG")
    assert curate.measure(image) == curate.measure(file.getvalue())


def test_a_photo_that_cannot_be_used_is_an_error_of_its_kind(home: Path) -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        ("nowhere.jpg", errors.Vanished, r"^Vanished: nowhere.jpg: "),
        (home, errors.NotAFile, "folder"),
        (home / "photos" / "broken.jpg", errors.BrokenPhoto, r"broken\.jpg: "),
        (b"", errors.EmptyFile, "zero bytes"),
        (b"no picture at all, but text", errors.NotAPhoto, "it is text"),
        (b"FUJIFILMCCD-RAW 0201", errors.UnsupportedFormat, "raw"),
        (Image.new("RGBA", (4, 4)), errors.NothingVisible, "transparent"),
        (42, TypeError, "a photo is a path, bytes, a PIL image or an array, not int"),
        (np.zeros((4, 4)), errors.UsageError, r"\(H, W, 3\) uint8.*this one is \(4, 4\) float64"),
        (np.zeros((4, 4, 4), np.uint8), errors.UsageError, r"\(4, 4, 4\) uint8"),
    ]
    for photo, kind, text in cases:
        with pytest.raises(kind, match=text) as caught:
            curate.measure(photo)
        assert "\n" not in str(caught.value)
    assert issubclass(errors.Vanished, curate.PhotoError)
    assert issubclass(curate.PhotoError, curate.VividsetError)


def test_too_many_pixels_are_refused_in_every_form(home: Path) -> None:
    path = home / "photos" / "coffee.png"
    with Image.open(path) as image:
        for photo in (path, path.read_bytes(), image):
            with pytest.raises(errors.TooManyPixels):
                curate.measure(photo, max_pixels=1000)


def test_a_scan_takes_one_path_or_many_and_reports_progress(home: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    summary = curate.scan_photos(
        str(home / "photos"),
        str(tmp_path / "one.parquet"),
        engine="serial",
        progress=lambda *numbers: done.append(numbers),
    )
    assert (summary.photos, summary.scored, dict(summary.errors)) == (7, 6, {"BrokenPhoto": 1})
    assert done[0] == (0, 7)
    assert done[-1] == (7, 7)
    files = sorted((home / "photos").iterdir())
    many = curate.scan_photos(files, tmp_path / "many.parquet", engine="serial")
    assert many.photos == 7
    lineage = curate.inspect_manifest(tmp_path / "one.parquet").lineage
    assert lineage is not None
    assert lineage.command.startswith("curate.scan_photos('")


def test_filter_gives_counts_and_paths(scan: Path, tmp_path: Path) -> None:
    summary = curate.filter_manifest(scan, tmp_path / "clean.parquet", min_colorfulness=30)
    assert summary.kept_path == tmp_path / "clean.parquet"
    assert summary.rejected_path == tmp_path / "rejected.parquet"
    for path, rows in ((summary.kept_path, summary.kept), (summary.rejected_path, summary.rejected)):
        assert curate.read_manifest(path).table.num_rows == rows > 0
    assert curate.inspect_manifest(summary.kept_path).counts["tone"] == {"color": summary.kept}
    dry = curate.filter_manifest(
        scan, tmp_path / "dry.parquet", keep_tone="grayscale", min_colorfulness=0, dry_run=True
    )
    assert dry.kept_path is None
    assert dry.kept > summary.kept
    assert not (tmp_path / "dry.parquet").exists()


def test_single_rules_take_the_place_of_a_presets(scan: Path, tmp_path: Path) -> None:
    preset = tmp_path / "preset.toml"
    preset.write_text('min-colorfulness = 60\nkeep-tone = ["sepia"]\n', encoding="utf-8")
    by_file = curate.filter_manifest(scan, tmp_path / "a.parquet", preset=preset, dry_run=True).options
    assert by_file == curate.FilterOptions(min_colorfulness=60, keep_tones=frozenset({"color", "sepia"}))
    changed = curate.filter_manifest(scan, tmp_path / "a.parquet", preset=preset, min_colorfulness=5, dry_run=True)
    assert changed.options.min_colorfulness == 5
    rules = curate.filter_manifest(scan, tmp_path / "a.parquet", max_sharpness=9000, min_side=10, dry_run=True).options
    assert rules == curate.FilterOptions(bounds=(Bound("sharpness", 9000, is_min=False),), min_side_px=10)
    assert curate.filter_manifest(scan, tmp_path / "a.parquet", options=rules, dry_run=True).options == rules


def test_arguments_that_make_no_sense_are_one_line(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: curate.filter_manifest(scan, out, min_side=9, options=curate.FilterOptions()), "options="),
        (lambda: curate.filter_manifest(scan, out, keep_tone="purple"), "purple"),
        (lambda: curate.filter_manifest(scan, out, split="1/2"), "90/5/5"),
        (lambda: curate.scan_photos("x", out, workers=0), "--workers"),
        (lambda: curate.scan_photos("x", out, engine="threads"), "serial, processes, ray"),  # type: ignore[arg-type]
        (lambda: curate.scan_photos("x", out, timeout_s=0), "--timeout"),
        (lambda: curate.scan_photos("x", out, max_pixels=0), "--max-pixels"),
        (lambda: curate.scan_photos("x", out, fidelity="good"), "exact, fast"),  # type: ignore[arg-type]
        (lambda: curate.scan_photos("x", out, tone_network="big"), "small, large"),  # type: ignore[arg-type]
        (lambda: curate.scan_photos("x", out, kind_network="big"), "small, large"),  # type: ignore[arg-type]
        (lambda: curate.scan_photos("x", out, shard="3"), "1/8"),
        (lambda: curate.scan_photos("x", out, prune=True, options=curate.ScanOptions()), "options="),
        (lambda: curate.pack_photos(scan, out, size_px=8), "--size"),
        (lambda: curate.pack_photos(scan, out, quality=50, encoding="jpeg"), "--quality"),
        (lambda: curate.pack_photos(scan, out, encoding="png"), "raw, jpeg"),  # type: ignore[arg-type]
        (lambda: curate.export_photos(scan, out, "zip"), "webdataset"),  # type: ignore[arg-type]
    ]
    for call, text in calls:
        with pytest.raises(errors.UsageError, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not out.exists()


def test_pack_export_report_and_explain(home: Path, scan: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean.parquet"
    kept = curate.filter_manifest(scan, clean).kept
    assert curate.pack_photos(clean, tmp_path / "pack", options=PackOptions(size_px=32, engine="serial")).photos == kept
    assert curate.export_photos(clean, tmp_path / "copies", "copy").photos == kept
    assert curate.write_report(scan, tmp_path / "page.html", workers=1).shown == 7
    reasons = curate.explain_photo(home / "photos" / "camera.png").reasons
    assert "tone is grayscale" in reasons
    assert curate.explain_photo(home / "photos" / "coffee.png", min_colorfulness=10).reasons == ()


def test_parts_of_a_scan_are_merged(home: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"{number}.parquet" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        curate.scan_photos(home / "photos", part, shard=f"{number}/2", engine="serial")
    assert curate.merge_manifests(parts, tmp_path / "all.parquet").rows == 7


PROGRAM = """
import curate
print("program starts", flush=True)
summary = curate.scan_photos("photos", OUT, workers=2, overwrite=True)
print(summary.photos, summary.scored)
"""


@pytest.mark.parametrize("how", ["script", "-c", "stdin", "exec"])
def test_a_scan_runs_however_the_program_is_started(how: str, home: Path, tmp_path: Path) -> None:
    """A script needs no `if __name__ == "__main__"`: workers never run it."""
    program = PROGRAM.replace("OUT", repr(str(tmp_path / "scan.parquet")))
    script = tmp_path / "script.py"
    script.write_text(program, encoding="utf-8")
    arguments = {
        "script": [str(script)],
        "-c": ["-c", program],
        "stdin": ["-i", "-q", "-"],
        "exec": ["-c", f"import __main__; exec(compile({program!r}, '<cell>', 'exec'), __main__.__dict__)"],
    }[how]
    done = subprocess.run(
        [sys.executable, *arguments],
        input=program if how == "stdin" else "",
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == ["program starts", "7 6"], done.stderr
    assert done.returncode == 0
    if how != "stdin":  # there the prompt goes to stderr
        assert not done.stderr


def test_a_scan_runs_in_a_thread(home: Path, tmp_path: Path) -> None:
    found: list[int] = []
    thread = threading.Thread(
        target=lambda: found.append(curate.scan_photos(home / "photos", tmp_path / "scan.parquet", workers=2).scored)
    )
    thread.start()
    thread.join(120)
    assert found == [6]
