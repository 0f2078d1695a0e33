"""Writes the bundled inbox: `python -m support.inbox` in the folder `tests`, with a Chromium for the PDFs."""
