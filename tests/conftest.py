"""Fixtures of all tests."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Commands inherit ignored signals: under `nohup`, or in a script's background, the tests of Ctrl-C would fail.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 server on a free port, and the file system that talks to it."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")  # entries per page of a listing; 1,000 on a real server
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        fs = fsspec.filesystem("s3", use_listings_cache=False)
        fs.mkdir("bucket")
        yield fs
        fs.rm("bucket", recursive=True)  # the server keeps its data in this process, for the next server too
        server.stop()
        fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Without it the tests of pages fail in CI and are skipped elsewhere."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium here: apt-get install chromium libatomic1")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session", autouse=True)
def wide_output() -> Iterator[None]:
    """Commands wrap their text to the width of the terminal, but tests look for whole lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.cli.common.output_width", lambda: 10_000)
        yield
