"""A manifest to one page that people look at: numbers, thumbnails, and the page that shows them."""

from __future__ import annotations

from curate.report.page import ReportSummary, write_report

__all__ = ["ReportSummary", "write_report"]
