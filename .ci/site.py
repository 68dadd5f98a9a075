"""What the site needs beside docs/: README.md as its first page, CONTRIBUTING.md, and links that hold there too."""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md"}


def on_files(files, config):
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    for name, source in PAGES.items():
        markdown = re.sub(rf"\]\((\.\./)?{re.escape(source)}\)", f"]({name})", markdown)
    # What lies beside docs/ is no part of the site: its name is left.
    return re.sub(r"(?<!!)\[([^\]]+)\]\((\.\./)?(benchmarks|examples|src|tests)[^)]*\)", r"\1", markdown)
