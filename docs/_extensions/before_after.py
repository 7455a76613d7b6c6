"""The directive *before-after*: two pictures on top of each other, with a slider between them.

Its argument is the name of a scene of scripts/gallery.py, and its content the caption.
"""

from html import escape

from docutils import nodes
from docutils.parsers.rst import Directive

PICTURE = """<figure class="before-after">
<div>
<img src="_static/gallery/{name}_before.webp" alt="before: {text}" loading="lazy">
<img src="_static/gallery/{name}_after.webp" alt="after: {text}" loading="lazy">
<input type="range" min="0" max="100" value="50" aria-label="share of the picture before"
 oninput="this.parentNode.style.setProperty('--at', this.value + '%')">
</div>
<figcaption>{text}</figcaption>
</figure>"""


class BeforeAfter(Directive):
    """A figure of a page in the top folder."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the figure as HTML."""
        html = PICTURE.format(name=self.arguments[0], text=escape(" ".join(self.content)))
        return [nodes.raw("", html, format="html")]


def setup(app: object) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.add_directive("before-after", BeforeAfter)
    return {"parallel_read_safe": True}
