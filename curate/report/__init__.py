"""A manifest to one page that people look at: numbers, thumbnails, and the page that shows them."""

from curate.report.page import Written, write_report

__all__ = ["Written", "write_report"]
