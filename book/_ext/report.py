"""Sphinx extension: the reproduction report, from ``book/report.yml``, the records and the quotations.

``{report} claims`` shows the rows of one group, a box a row; ``{report} summary`` all of them in one table.
The rows hold words and verdicts; every number comes from `zscir.analysis` (the records) or from
`zscir.retrieval.published`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd
import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from zscir.analysis import claims as plan
from zscir.analysis.ablation_tables import recorded, shared_seeds, spreads, study_rows
from zscir.retrieval.published import published, published_sources
from zscir.retrieval.statistics import crossed_gain, paired_gain

#: Groups of rows, and how the summary calls them.
GROUPS = {
    "claims": "claim",
    "questions": "open question",
    "experiments": "first experiment",
    "checks": "next check",
}
#: Verdict -> colour of its box (a class of admonitions).
VERDICTS = {
    "held": "tip",
    "held in part": "attention",
    "did not hold": "danger",
    "undecided": "note",
    "cannot be tested here": "untested",
}
#: Wording of the captions of a backbone -> how a comparison says it.
WORDINGS = {"plain": "plain captions", "relative": "captions as they are"}
NAMES = {
    "recall@1": "Recall@1",
    "recall@5": "Recall@5",
    "recall_subset@1": "Recall_subset@1",
    "fashioniq recall@10": "FashionIQ Recall@10",
    "recall@1 much conflict": "Recall@1",
}


def report_rows(path: Path) -> dict[str, list[dict]]:
    """Group -> its rows, as the file has them."""
    return yaml.safe_load(path.read_text("utf-8"))


@lru_cache(maxsize=1)
def _judged() -> dict[str, pd.DataFrame]:
    """Mark of a claim of the plan -> its verdicts, a row a measure."""
    table, found = recorded("claims")[0], {}
    stages = (("test", plan.CLAIMS, plan.MEASURES, 1), ("control", plan.CONTROL_CLAIMS, plan.LINKS, "A"))
    for stage, claims, measures, first in stages:
        rows = plan.verdicts(table[table["stage"] == stage], claims, measures)
        where = "test" if stage == "test" else "the control world"
        for number, (words, ours, theirs) in enumerate(claims):
            mark = str(first + number) if stage == "test" else chr(ord(first) + number)
            words = f"{ours} − {theirs}, {where}"
            found[mark] = rows.iloc[number * len(measures) : (number + 1) * len(measures)].assign(claim=words)
    return found


@lru_cache(maxsize=8)
def _worded(backbone: str) -> dict[str, pd.DataFrame]:
    """`_judged` of a backbone of the record of plain captions, such as "plain-0"."""
    table = recorded("wording")[0]
    claims = {str(1 + plan.CLAIMS.index(one)): one for one in plan.WORDED_CLAIMS}
    rows = plan.verdicts(table[table["backbone"] == backbone], plan.WORDED_CLAIMS, plan.MEASURES)
    wording, _, number = backbone.partition("-")
    where = f"{WORDINGS[wording]}, pre-training {int(number) + 1}"
    return {
        mark: rows[rows["claim"] == words].assign(claim=f"{ours} − {theirs}, {where}")
        for mark, (words, ours, theirs) in claims.items()
    }


@lru_cache(maxsize=1)
def _ablations() -> tuple[pd.DataFrame, dict]:
    table = recorded()[0]
    return table, spreads(table)


def comparison(one: Mapping) -> pd.DataFrame:
    """One comparison of a row: columns claim, measure, gain, low, high, seeds, verdict; a row a measure."""
    if "claim" in one:
        return (_worded(one["backbone"]) if "backbone" in one else _judged())[str(one["claim"])]
    if "prediction" in one:
        return _prediction() if one["prediction"] is True else _predicted_of_wording(one)
    table, spread = _ablations()
    other = one["against"] if isinstance(one["against"], list) else [one["study"], one["against"]]
    studies = {name: shared_seeds(study_rows(table, name)) for name in {one["study"], other[0]}}
    sides = [
        studies[name][studies[name]["label"] == label]
        for name, label in ((one["study"], one["label"]), other)
    ]
    rows = []
    for measure in one.get("measures", plan.MEASURES):
        value, low, high, seeds = paired_gain(*sides, measure, spread=spread[measure])
        verdict = "undecided" if low <= 0 <= high else "held" if low > 0 else "the opposite held"
        rows.append((f"{one['words']}, val", measure, value, low, high, seeds, verdict))
    return pd.DataFrame(rows, columns=["claim", "measure", "gain", "low", "high", "seeds", "verdict"])


def _prediction() -> pd.DataFrame:
    """What the plan predicted: true masks gain more with masked references than with whole ones."""
    table = recorded("claims")[0]
    control = table[table["stage"] == "control"]
    links = [plan.paired_hits(control, "true masks", "random masks", link) for link in plan.LINKS[1:3]]
    (true, noise), (true_whole, noise_whole) = links
    gain = crossed_gain(true - noise - (true_whole - noise_whole))
    verdict = "undecided" if gain.p >= 0.05 else "held" if gain.difference > 0 else "the opposite held"
    words = "true − random masks with masked references, less the same with whole ones, the control world"
    row = {"claim": words, "measure": "recall@1", "gain": gain.difference, "low": gain.low, "high": gain.high}
    return pd.DataFrame([row | {"seeds": len(true), "verdict": verdict}])


def _predicted_of_wording(one: Mapping) -> pd.DataFrame:
    """What the plan predicted of plain captions: each pre-training's difference, and the verdict of both."""
    table, made = recorded("wording")
    row, seeds = made["predictions"][one["prediction"] - 5], table.query("seed >= 0")["seed"].nunique()
    rows = [
        {"claim": f"{one['words']}, {name}", "measure": "recall@1", "gain": own["difference"], "seeds": seeds}
        | {"low": own["low"], "high": own["high"], "verdict": row["verdict"]}
        for name, own in row["comparisons"].items()
    ]
    return pd.DataFrame(rows)


def verdict_of(comparisons: Sequence[pd.DataFrame]) -> str:
    """The verdict of a row from all cells of its comparisons, by the rule that the page states."""
    cells = pd.concat(comparisons)["verdict"]
    held, lost = (cells == "held").sum(), (cells == "the opposite held").sum()
    if held:
        return "held" if held == len(cells) else "held in part"
    return "did not hold" if lost else "undecided"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def comparison_markdown(found: pd.DataFrame) -> str:
    """A comparison in one item: what is compared, how many seeds, and each measure with its interval."""
    cells = []
    for row in found.itertuples():
        text = f"{_signed(row.gain)} [{_signed(row.low)}, {_signed(row.high)}]"
        text = text if row.verdict == "undecided" else f"**{text}**"
        cells.append(f"{NAMES.get(row.measure, row.measure)} {text}")
    return f"* *{found['claim'].iloc[0]}* ({found['seeds'].iloc[0]} seeds): {'; '.join(cells)}"


def paper_markdown(said: Mapping | Sequence[Mapping]) -> str:
    """What the paper says: words, or numbers as they are printed, in italics as all that is quoted."""
    parts = []
    for one in [said] if isinstance(said, Mapping) else said:
        if "words" in one:
            parts.append(one["words"])
            continue
        table = published(one["table"], [one["method"]])
        names = [name for name in table.index if name == one["method"]] or list(table.index)
        for name in names:
            known = {k: v for k, v in table.loc[name].items() if "R@" in k and v and k[:2] in ("R@", "me")}
            letters = table.loc[name, "source"].split(", ")
            if "T" not in letters and not re.search(r"as \w prints it", name):  # not of the paper itself
                name = f"{name}, as {letters[0]} prints it"
            name = re.sub(r"as (\w+) prints it", lambda m: f"as {published_sources()[m[1]]} print it", name)
            parts.append(f"{name}: *{', '.join(f'{k} {v}' for k, v in known.items())}*")
    return "; ".join(parts)


def why_heading(row: Mapping) -> str:
    """What the words of a row are: reasons where the paper has numbers to differ from, else a reading."""
    if row["verdict"] == "cannot be tested here":
        return "Why not"
    said = [row["paper"]] if isinstance(row["paper"], Mapping) else row["paper"]
    return "Why it may differ" if any("table" in one for one in said) else "What to make of it"


def row_markdown(row: Mapping) -> str:
    """The box of one row."""
    ours = "\n".join(comparison_markdown(comparison(one)) for one in row.get("ours", ()))
    return f"""```{{admonition}} {row["verdict"].capitalize()} · {row["claim"]}
:class: {VERDICTS[row["verdict"]]} verdict
:name: report-{row["id"]}

The paper
: {paper_markdown(row["paper"])}.

Here
: {ours.replace(chr(10), chr(10) + "  ") or "no number."}

{why_heading(row)}
: {row["why"]}

In the book
: {row["where"]}
```"""


def summary_markdown(rows: Mapping[str, Sequence[Mapping]]) -> str:
    """All rows in one table: what is asked, and the verdict."""
    lines = ["| | what is tested | verdict |", "| --- | --- | --- |"]
    for group, kind in GROUPS.items():
        for row in rows[group]:
            lines.append(f"| {kind} | {{ref}}`{row['claim']} <report-{row['id']}>` | {row['verdict']} |")
    return "\n".join(lines)


class Report(SphinxDirective):
    """One group of rows by its name, or the ``summary``."""

    required_arguments = 1

    def run(self):
        """The nodes of boxes or table."""
        wanted, path = self.arguments[0], Path(self.env.srcdir) / "report.yml"
        self.env.note_dependency(str(path))
        rows = report_rows(path)
        if wanted not in (*rows, "summary"):
            raise self.error(f"report has no group {wanted!r}; it has: {', '.join(rows)}, summary")
        text = summary_markdown(rows) if wanted == "summary" else "\n\n".join(map(row_markdown, rows[wanted]))
        holder = nodes.container(classes=["report", wanted])
        self.state.nested_parse(StringList(text.splitlines(), source="report.yml"), 0, holder)
        return [holder]


def setup(app):
    """Name the directive."""
    app.add_directive("report", Report)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
