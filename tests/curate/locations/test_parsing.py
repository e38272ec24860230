"""What an argument names: paths, URLs, and texts that only look like one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import curate
import curate.cli
import train.cli
from curate.errors import UsageError
from curate.locations import RemotePath, check_local_name, local_path, parse_location


@pytest.mark.parametrize(
    ("text", "path"),
    [  # RFC 8089: file:///a, file:/a and file://localhost/a name the same file
        ("file:///a/b%20c", "/a/b c"),
        ("file:/a/b", "/a/b"),
        ("FILE://localhost/a/b%23", "/a/b#"),
        ("c:/photos/scan.parquet", "c:/photos/scan.parquet"),
        (r"C:\photos\scan.parquet", r"C:\photos\scan.parquet"),
        ("2020-01:/scan.parquet", "2020-01:/scan.parquet"),
        ("photos:/a", "photos:/a"),
        ("a~/b", "a~/b"),
        ("scan.parquet", "scan.parquet"),
    ],
)
def test_these_are_paths(text: str, path: str) -> None:
    assert parse_location(text) == Path(path)


@pytest.mark.parametrize("name", ["~", "~/a", "s3:/bucket/a", "s3://bucket/a"])
def test_a_dot_and_a_slash_make_every_name_a_path_here(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = parse_location(f"./{name}")
    assert path == tmp_path / name
    assert parse_location(path) == path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo://x", "unknown kind"),
        ("s3:/bucket/scan.parquet", "write s3://bucket/scan.parquet"),
        (Path("s3://bucket/scan.parquet"), "write s3://bucket/scan.parquet"),
        ("~", "write /home/me, or"),
        ("~/scan.parquet", "write /home/me/scan.parquet, or ./~/scan.parquet"),
        (Path("~/scan.parquet"), "write /home/me/scan.parquet"),
        ("~nobody-of-this-name/scan.parquet", "write the whole path"),
        ("file://server/share/a", "write file:///server/share/a"),
    ],
)
def test_these_are_refused_with_what_to_write(text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    with pytest.raises(UsageError) as raised:
        parse_location(text)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_a_shell_pattern_found_may_begin_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~a.jpg").touch()
    check_local_name("~a.jpg", existing=True)
    with pytest.raises(UsageError):
        check_local_name("~b.jpg", existing=True)


def test_a_url_has_the_parts_of_a_path() -> None:
    url = parse_location("S3://bucket/m/scan.v1.parquet/")
    assert url == RemotePath("s3://bucket/m/scan.v1.parquet")
    assert (url.name, url.stem, url.suffix) == ("scan.v1.parquet", "scan.v1", ".parquet")
    assert (str(url.parent / "a"), str(url.with_suffix(".html"))) == ("s3://bucket/m/a", "s3://bucket/m/scan.v1.html")
    with pytest.raises(TypeError):
        open(url)  # type: ignore[call-overload]  # noqa: SIM115


def test_where_only_a_path_is_possible_a_url_is_refused_with_advice() -> None:
    with pytest.raises(UsageError, match=r"^--run-dir s3://b/run is a URL, .* with aws s3 cp$"):
        local_path("s3://b/run", "--run-dir")


@pytest.mark.parametrize("out", ["~/out", "s3:/b/out", "foo://b/out", "s3://b/out"])
@pytest.mark.parametrize(
    "command",
    [
        *("curate scan . -o OUT", "curate filter . -o OUT", "curate merge . -o OUT", "curate report . -o OUT"),
        *("curate pack . -o OUT", "curate export . --to copy -o OUT", "train fit . --run-dir OUT"),
        *("train colorize . . -o OUT", "train evaluate . . --html OUT", "train export . -o OUT"),
    ],
)
def test_no_command_makes_a_folder_of_an_output_that_is_not_a_path(
    command: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if out == "s3://b/out" and command.startswith("curate"):
        pytest.skip("these commands write to a store")
    monkeypatch.chdir(tmp_path)
    name, *words = command.replace("OUT", out).split()
    result = CliRunner().invoke(curate.cli.main if name == "curate" else train.cli.main, words)
    assert result.exit_code == 2
    assert out in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_python_functions_refuse_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls = (
        lambda: curate.scan_photos("~/photos", "scan.parquet"),
        lambda: curate.scan_photos(".", "~/scan.parquet"),
        lambda: curate.filter_manifest("~/scan.parquet", "clean.parquet"),
        lambda: curate.filter_manifest("scan.parquet", "clean.parquet", preset="~/preset.toml"),
        lambda: curate.scan_photos(".", "scan.parquet", from_files="~/list.txt"),
        lambda: curate.pack_photos("clean.parquet", "foo://pack"),
        lambda: curate.write_report("scan.parquet", roots="s3://bucket"),
        lambda: train.fit("clean.parquet", run_dir="s3://bucket/run"),
        lambda: train.evaluate("run", "clean.parquet", html="~/page.html"),
    )
    for call in calls:
        with pytest.raises(UsageError, match=r"~|URL"):
            call()
    assert not list(tmp_path.iterdir())
