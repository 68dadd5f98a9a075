"""Shows `>>>` examples of docstrings as code: Markdown would take them for quotations."""

import re

import griffe


class Examples(griffe.Extension):
    def on_object(self, *, obj, **_):
        if obj.docstring:
            blocks = re.compile(r"^((?:(?:>>>|\.\.\.) .*\n?)+)", re.MULTILINE)
            obj.docstring.value = blocks.sub(
                lambda found: f"\n```pycon\n{found[1].rstrip()}\n```\n", obj.docstring.value
            )
