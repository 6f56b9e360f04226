"""Sphinx extension: where the book lives, what other sites show of it, and a page for wrong addresses.

Links to the repository (launch, issue, source) come from one setting: the variable ``ZSCIR_REPOSITORY``, or
git's remote *origin* of the checkout. Where neither is a public address, there are no such links. A book
whose repository is on GitHub is taken to be published on its Pages.
"""

import html
import os
import re
import subprocess
from pathlib import Path

from build_record import checkout_of
from docutils import nodes

#: Theme options that lead to the repository.
LINKS = ("repository_url", "use_repository_button", "use_issues_button", "launch_buttons")
_ADDRESS = re.compile(
    r"(?:https?://|ssh://)?(?:[^@/]+@)?((?:github|gitlab)\.com)[:/]([^/]+)/(.+?)(?:\.git)?/?"
)
#: Letters of a description.
LONGEST = 200


def repository(root: Path) -> str:
    """Public address of a checkout's repository, or "" where there is none.

    Raises:
        ValueError: ``ZSCIR_REPOSITORY`` is given, not empty, and no such address.
    """
    given = os.environ.get("ZSCIR_REPOSITORY")
    told = given
    if given is None and (root / ".git").exists():
        command = ["git", "-C", str(root), "remote", "get-url", "origin"]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = _ADDRESS.fullmatch((told or "").strip())
    if given and not found:
        raise ValueError(f"ZSCIR_REPOSITORY is {given!r}; legal: https://github.com/OWNER/NAME, or GitLab's")
    return f"https://{found[1]}/{found[2]}/{found[3]}" if found else ""


def published(address: str) -> str:
    """Where GitHub's Pages of a repository are, or "" for another host."""
    host, owner, name = address.partition("//")[2].split("/", 2) if address else ("", "", "")
    return f"https://{owner.lower()}.github.io/{name}/" if host == "github.com" else ""


def link(app, config):
    """Set, or drop, what leads to the repository."""
    address = repository(checkout_of(Path(app.srcdir)))
    options = config.html_theme_options
    if address:
        options["repository_url"] = address
    else:
        for name in LINKS:
            options.pop(name, None)
    config.zscir_site = published(address)
    config.html_additional_pages["404"] = "404.html"


def describe(app, pagename, templatename, context, doctree):
    """Add description and og: tags to a page, and where the book begins to the page for no address."""
    first = (
        next((node for node in doctree.findall(nodes.paragraph) if _told(node)), None) if doctree else None
    )
    said = " ".join(first.astext().split()) if first else ""
    if len(said) > LONGEST:
        said = said[:LONGEST].rpartition(" ")[0].rstrip(" ,;:") + " …"
    site, title = app.config.zscir_site, re.sub("<[^>]+>", "", context.get("title") or "")
    tags = {"og:type": "article", "og:site_name": app.config.html_title, "og:title": title}
    tags |= {"description": said, "og:description": said} if said else {}
    if site:
        tags["og:url"] = f"{site}{pagename}.html"
        pictures = re.findall(r'<img [^>]*src="(?:\.\./)*(_images/[^"]+\.png)"', context.get("body", ""))
        tags |= {"og:image": site + pictures[0]} if pictures else {}
    context["metatags"] = context.get("metatags", "") + "\n".join(
        f'<meta {"property" if name.startswith("og:") else "name"}="{name}" content="{html.escape(text)}">'
        for name, text in tags.items()
    )
    context["site_folder"] = re.sub(r"^https://[^/]+", "", site) or "/"


def _told(paragraph):
    """Whether a paragraph stands in the page's own text, not in a box, list or table."""
    return isinstance(paragraph.parent, nodes.section) and len(paragraph.astext()) > 20


def setup(app):
    """Connect: the links before the theme reads its options."""
    app.add_config_value("zscir_site", "", "html")
    app.connect("config-inited", link, priority=100)
    app.connect("html-page-context", describe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
