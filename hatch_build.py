"""Metadata of the package: the README with whole links, and the project's addresses.

A package index shows the README, but has none of the files beside it. Where the project lives is known
when a release is built, from the variables that GitHub sets for every workflow; elsewhere links stay as
they are.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAGES = {  # name on the package index, and place in the repository
    "Documentation": "blob/{ref}/docs/index.md",
    "Changelog": "blob/{ref}/CHANGELOG.md",
    "Issues": "issues",
    "Source": "tree/{ref}",
}
RELATIVE_LINK = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


class ProjectMetadata(MetadataHookInterface):
    """Sets the fields `readme` and `urls`."""

    def update(self, metadata: dict) -> None:
        """Set both in `metadata`."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        if (address := project_address(os.environ)) is not None:
            ref = os.environ.get("GITHUB_REF_NAME", "HEAD")
            text = with_whole_links(text, address, ref)
            pages = {name: f"{address}/{page.format(ref=ref)}" for name, page in PAGES.items()}
            metadata["urls"] = {"Homepage": address} | pages
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def project_address(environment: Mapping[str, str]) -> str | None:
    """Return the address of the repository, if a workflow on it is running."""
    names = "GITHUB_SERVER_URL", "GITHUB_REPOSITORY"
    return "/".join(environment[name] for name in names) if set(names) <= set(environment) else None


def with_whole_links(text: str, address: str, ref: str) -> str:
    """Return Markdown whose links to files of the repository are addresses, at the commit `ref`."""

    def replace(match: re.Match[str]) -> str:
        mark, title, target = match.groups()
        return f"{mark}{title}({address}/{'raw' if mark else 'blob'}/{ref}/{target})"

    return RELATIVE_LINK.sub(replace, text)
