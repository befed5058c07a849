"""The two reports: an HTML page to forward and a workbook to check the sums in."""

from wastewise_jobs.analysis.reports.html import render_html
from wastewise_jobs.analysis.reports.workbook import render_xlsx

__all__ = ["render_html", "render_xlsx"]
