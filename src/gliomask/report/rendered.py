"""What every report can be turned into, whatever it is about."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from gliomask.report.document import Document
from gliomask.report.html import to_html
from gliomask.report.pdf import to_pdf


class Rendered(ABC):
    """A report: a subclass says what stands in it, as a document and as figures."""

    @abstractmethod
    def document(self) -> Document:
        """Returns the report's parts in their order."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Returns the figures of the report as plain values."""

    def html(self) -> str:
        """Returns the report as the text of one HTML file that needs no other."""
        return to_html(self.document())

    def pdf(self) -> bytes:
        """Returns the report as the bytes of a PDF file. Raises EngineUnavailableError where fpdf2 is not installed."""
        return to_pdf(self.document())

    def json(self) -> str:
        """Returns the figures of the report, for programs, as JSON text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def content(self, form: str) -> bytes:
        """Returns the bytes of the file of one format: `html`, `pdf` or `json`."""
        if form == "pdf":
            return self.pdf()
        return {"html": self.html, "json": self.json}[form]().encode()
