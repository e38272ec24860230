"""Encodings of text files, and names in the other Unicode normal form."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.unicode import find_path, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_of_a_user_is_read_in_the_encodings_of_windows(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("# größe\r\nx = 1\r\n".encode(encoding))
    assert read_text(tmp_path / "text") == "# größe\r\nx = 1\r\n"


def test_text_in_another_encoding_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("x = 1\r\n# größe\r\n".encode("cp1252"))
    with pytest.raises(UnicodeError, match=r"^line 2 is not UTF-8 text: save it as UTF-8$"):
        read_text(tmp_path / "text")


def test_relative_paths_are_found_in_the_other_normal_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e\u0301").mkdir()
    assert find_path("\u00e9") == "e\u0301"
    assert find_path("\u00e9/a") == "\u00e9/a"  # there is no such file
