"""Write an HTML page about a manifest, with which people choose thresholds.

- page: assembles the HTML file and writes it
- page_data: the JSON data that the page's script reads
- counts: reads the columns of the manifest that the page counts
- sample: chooses the photos that are shown, and finds duplicates
- thumbnails: small copies of these photos
- page.html, page.css, page.js: the page; gallery.js: its photos; ticks.js: the ticked photos; charts.js: its histogram
  and hue wheel; logic.js: its calculations, which don't use the document
"""

from __future__ import annotations

from curate.report.page import ReportSummary, write_report

__all__ = ["ReportSummary", "write_report"]
