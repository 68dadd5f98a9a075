"""The frame of an HTML page that needs nothing but a browser, and pictures as PNG within it."""

from __future__ import annotations

import io

from PIL import Image


def page(title: str, style: str, body: str) -> str:
    """A whole page of escaped ``title``, CSS and HTML; it may load nothing from elsewhere."""
    return PAGE.format(title=title, style=style, body=body)


def png(picture: Image.Image) -> bytes:
    """As small a PNG as Pillow makes."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
