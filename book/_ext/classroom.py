"""Sphinx extension for the classroom: exercises by difficulty, the noise of a sweep, sheets and slides.

``{classroom} exercises`` is a table, ``{classroom} noise`` a warning with numbers of a record. An exercise
says how hard it is by its class, ``easy``, ``medium`` or ``hard``, and its page shows it. When the pages of a
book with the page *Teach* are written, ``_static/classroom`` gets sheets (PDF) and slides (HTML).
"""

import json
import re
from itertools import combinations
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from slides import slides
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.nodes import exercise_enumerable_node

LEVELS = ("easy", "medium", "hard")
EXERCISE = re.compile(r"```\{exercise\}.*\n:label: (\S+)\n(?::class: (\w+)\n)?")


def exercises(notebooks):
    """Chapter, label and level of every exercise, in reading order; the level is "" where none is said."""
    for path in sorted(Path(notebooks).glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield from ((path.stem, *found) for found in EXERCISE.findall("".join(cell["source"])))


def exercises_markdown(notebooks):
    """A table with a row a chapter and a column a level."""
    rows = {}
    for chapter, label, level in exercises(notebooks):
        rows.setdefault(chapter, {name: [] for name in LEVELS})[level].append(f"{{ref}}`{label}`")
    lines = [("chapter", *LEVELS), ["---"] * 4]
    lines += [(f"{{doc}}`notebooks/{name}`", *map(", ".join, row.values())) for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def noise():
    """Points of Recall@1 between two seeds of a τ, on average, and between the means of all τ; how many τ."""
    from zscir.analysis.ablation_tables import recorded, study_rows  # slow to import

    rows = study_rows(recorded()[0], "tau")
    seeds = [list(group) for _, group in rows.groupby("tau")["recall@1"]]
    apart = [abs(one - other) for group in seeds for one, other in combinations(group, 2)]
    means = [sum(group) / len(group) for group in seeds]
    return sum(apart) / len(apart), max(means) - min(means), len(means)


def noise_markdown():
    """The warning that goes with a shared sweep."""
    seed, curve, count = noise()
    return f"""```{{admonition}} Before anybody joins the dots
:class: warning
Recorded (`benchmarks/results/ablations.csv`): two trainings that differ in nothing but the seed lie
**{seed:.1f}** points of Recall@1 apart on average, and the means of all {count} τ lie within **{curve:.1f}**
points. So a dot says little about its τ, and neighbours cannot be told apart. Have each τ run by several
groups, and draw all their dots.
```"""


class Classroom(SphinxDirective):
    """``exercises`` or ``noise``."""

    required_arguments = 1

    def run(self):
        """The nodes of the table or the warning."""
        wanted = self.arguments[0]
        if wanted not in ("exercises", "noise"):
            raise self.error(f"classroom has no {wanted!r}; it has: exercises, noise")
        notebooks = Path(self.env.srcdir) / "notebooks"
        text = noise_markdown() if wanted == "noise" else exercises_markdown(notebooks)
        holder = nodes.container(classes=["classroom", wanted])
        self.state.nested_parse(StringList(text.splitlines(), source="classroom"), 0, holder)
        return [holder]


def mark(app, doctree):
    """Write the level of each exercise above its text."""
    for exercise in doctree.findall(exercise_enumerable_node):
        for level in set(exercise["classes"]) & set(LEVELS):
            said = nodes.paragraph("", "", nodes.emphasis("", level.capitalize()))
            next(exercise.findall(nodes.section)).insert(0, said)


def add(app, error):
    """Make sheets and slides, once the pages are written; the world and τ are those of the chapters."""
    if error or app.builder.name != "html" or "teach" not in app.env.found_docs:
        return
    from sheets import sheets, write_sheets  # slow to import, and not needed by other books

    folder = Path(app.outdir, "_static", "classroom")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slides.html").write_text(slides(app.outdir), encoding="utf-8")
    chapter = json.loads(Path(app.srcdir, "notebooks", "03_region_masking.ipynb").read_text(encoding="utf-8"))
    used = chapter["metadata"]["zscir"]["record"]["parameters"]
    write_sheets(folder / "sheets.pdf", sheets(used["world"], used["tau"]))


def setup(app):
    """Name the directive, and connect."""
    app.add_directive("classroom", Classroom)
    app.connect("doctree-read", mark)
    app.connect("build-finished", add)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
