"""No result is typed: a number beside a metric comes from the build or from the data file of quotations.

Looked at is the prose of the chapters (text cells, figure captions, sentences in code), of ``book/`` and of
the README. Not looked at are code, formulas, roles such as ``glue`` and ``quoted``, directives that compute,
and blocks marked as quoted.
"""

import ast
import re

import nbformat
import pytest

from zscir.storage.paths import REPO

#: Directives whose body is no prose: code, or computed when the book is built.
NO_PROSE = {"code-block", "code", "code-cell", "eval-rst", "math", "literalinclude", "image", "bibliography"}
NO_PROSE |= {"glue:any", "glue:figure", "published", "build-record", "classroom"}

NUMBER = r"(?<![\w.@/])[-+−]?\d+(?:[.,]\d+)*(?![\w.]*\d)"
DECIMAL = r"(?<![\w.@/])[-+−]?\d+\.\d+(?![\w.]*\d)"
MANY = rf"{NUMBER}(?:\s*(?:,|and|or|to|–|-|/)+\s*{NUMBER})*"
#: Always a result: a share, a difference, a ratio of speeds.
SHARE = re.compile(rf"{NUMBER}\s*(?:%|per\s?cent\b|(?:percentage |percent )?points?\b)", re.I)
RATIO = re.compile(rf"{NUMBER}\s*(?:×|x|times)\s+(?:faster|slower|quicker|cheaper|as|more|less)\b", re.I)
METRIC = re.compile(
    r"recall|\bR@|R_s@|\bmAP\b|map@|accurac|precision|\bIoU\b|overlap|kept (?:area|share)|\bp-?value|\bp\s*=|"
    r"interval|\bpoints?\b|pointing|\bscore|cosine|correlat|\bloss\b|\bgain|margin|percent|share of",
    re.I,
)
#: Not results: values of parameters, versions, numbers of papers, and the width of an interval.
PARAMETER = re.compile(
    rf"(?:τ|\btau\b|λ|\blam\b|lambda|\bweight|threshold|temperature|learning rate|noise)`?\s*"
    rf"(?:=|:|of|is|in|at|between|from|and|,)?\s*{MANY}",
    re.I,
)
VERSION = re.compile(rf"(?:Python|PyTorch|CUDA|OpenMoji|BY-SA|version|arXiv)\W{{1,3}}{NUMBER}", re.I)
# The README's time of a fresh clone, which test_benchmark_scripts.py holds against its record.
RECORDED = re.compile(r"a fresh clone is the built book after \d+ minutes(?=, installation included)")
WIDTH = re.compile(r"95 % (?:bootstrap |confidence )?(?:intervals?|bands?)|intervals? (?:of|at) 95 %", re.I)
COUNTS = (
    r"\d[\d.,]*|an?|half an?|a quarter of an|some|a few|one|two|three|four|five|six|seven|eight|nine|ten|"
    "twelve|fifteen|twenty|thirty|forty|sixty|ninety"
)
DURATION = re.compile(rf"\b(?:{COUNTS})\s+(?:or \w+ )?(?:seconds?|minutes?|hours?)\b", re.I)
RUNNING = re.compile(
    r"\b(?:run|runs|ran|running|take|takes|took|needs?|needed|builds?|built|trains?|trained|training|lasts?|"
    r"lasted|within)\b",
    re.I,
)


def blocks(text):
    """Prose of Markdown: paragraphs, list items, and table rows with the head of their table."""
    lines, fences, dropped = [], [], 0
    for line in text.splitlines():
        fence = re.match(r"\s*(`{3,}|:{3,})(.*)$", line)
        if fence and fences and not fence[2].strip() and len(fence[1]) >= len(fences[-1][0]):
            dropped -= fences.pop()[1]
            lines.append("")
        elif fence and not dropped:
            info = fence[2].strip()
            name = re.match(r"\{([\w:-]+)\}\s*(.*)", info)
            skip = not name or name[1] in NO_PROSE or name[2].startswith("Quoted")
            fences.append((fence[1], skip))
            dropped += skip
            lines += ["", name[2] if name and not skip and name[1] != "figure" else "", ""]
        elif fence:
            fences.append((fence[1], True))
            dropped += 1
        elif not dropped and not re.match(r":[\w-]+:", line):
            lines.append(line)
    assert not fences, f"a fence is not closed: {fences}"
    return joined(without_inline("\n".join(lines)))


def joined(text):
    """Paragraphs of plain text in one line each; a row of a table is a paragraph after the table's head."""
    done = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in paragraph.splitlines() if line.strip()]
        if lines and lines[0].startswith("|"):
            done += [f"{lines[0]} {row}" for row in lines[2:]]
        else:
            done += re.split(r"\n(?=[*:-] |\d+\. )", "\n".join(lines))
    return [" ".join(one.split()) for one in done if one.strip()]


def without_inline(text):
    """Text in which formulas, roles, code and addresses are a sign that is no number."""
    text = re.sub(r"<!--.*?-->|\$\$.*?\$\$(?: *\([\w-]+\))?", "·", text, flags=re.DOTALL)
    text = re.sub(r"(?:\{[\w:-]+\})?(`+)(?!`)(.+?)(?<!`)\1(?!`)", "·", text, flags=re.DOTALL)
    text = re.sub(r"(?<![\\$])\$[^$\n]+\$", "·", text)
    return re.sub(r"\]\([^)\s]*\)|https?://\S+", "] ", text)


def typed(paragraph):
    """Numbers of a paragraph that are results and were typed."""
    text = WIDTH.sub("·", VERSION.sub("·", paragraph))
    text = RECORDED.sub("·", text)
    found = [one[0] for pattern in (SHARE, RATIO) for one in pattern.finditer(text)]
    rest = PARAMETER.sub("·", text)
    if METRIC.search(text):
        found += re.findall(DECIMAL, rest)
    for sentence in re.split(r"(?<=[.!?;])\s+", text):
        if RUNNING.search(sentence):
            found += [one[0] for one in DURATION.finditer(sentence)]
    return found


def typed_in(markdown):
    return [(paragraph, found) for paragraph in blocks(markdown) if (found := typed(paragraph))]


def sentences_in_code(code):
    """String constants of at least four words, as those that a cell shows with `Markdown`."""
    constants = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    return [text for text in constants if isinstance(text, str) and len(text.split()) >= 4]


def told(cell):
    """All prose of a cell, as Markdown."""
    if cell.cell_type == "markdown":
        return [cell.source]
    caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
    return [caption, *(text for text in sentences_in_code(cell.source) if "```" not in text)]


def pages():
    """Texts of every page, each with the id of its cell."""
    found = []
    for path in [*sorted((REPO / "book").glob("*.md")), REPO / "README.md"]:
        if path.name != "api.md":
            found.append(pytest.param([("", path.read_text("utf-8"))], id=path.stem))
    for path in sorted((REPO / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        texts = [(cell["id"], text) for cell in cells for text in told(cell)]
        found.append(pytest.param(texts, id=path.stem))
    return found


@pytest.mark.parametrize("texts", pages())
def test_no_result_is_typed(texts):
    assert [(where, *one) for where, text in texts for one in typed_in(text)] == []


BAD = {
    "recall": "Recall@1 rises to 26.1 here.",
    "percent": "Our method finds 26 % of the targets.",
    "percent, no space": "It keeps 31% of the picture.",
    "percent in words": "About 12.5 percent are lost.",
    "points": "The gain is 2.3 points over Pic2Word.",
    "whole points": "It wins by 3 points.",
    "one paragraph, two sentences": "We measure IoU. With the best threshold it is 0.44 in all.",
    "mAP": "mAP@5 of 8.7 is what others print.",
    "accuracy": "the accuracy (0.93) is high",
    "kept area": "the kept area falls from 0.55 to 0.2",
    "negative": "the correlation is -0.31",
    "ratio": "the new code is 13.5 times faster",
    "minutes": "The chapter runs in about 4 minutes.",
    "minutes in words": "To run: a minute with the networks in store, about four minutes without.",
    "seconds": "A training takes 40 seconds.",
    "in a list": "* fine\n* Recall@5 is 61.3\n",
    "in a table": "| method | Recall@1 |\n| --- | --- |\n| ours | 26.1 |\n",
    "in an admonition": "```{admonition} Note\n:class: tip\nIoU is 0.31.\n```",
    "in a solution": "````{solution} ex-a\n```python\nx = 1\n```\nIt gives a recall of 0.31.\n````",
    "after a code block": "```python\nrecall = 0.31\n```\nSo recall is 0.31.",
    "bold": "Recall@1 is **26.1**.",
    "beside a parameter": "At τ = 0.3 the recall is 26.1.",
    "beside glue": "Recall {glue:text}`a` beats 26.1.",
    "title": "```{admonition} A recall of 0.4\ntext\n```",
}
GOOD = {
    "glue": "Recall@1 is {glue:text}`r:.1f` %, {glue:}`s` points more.",
    "quoted role": "They report {quoted}`lincir-training` for their training.",
    "quoted block": "```{admonition} Quoted, not computed here\nRecall@1 is 26.1.\n```",
    "code": "```python\nassert recall > 0.31\n```",
    "nested code": "````{solution} ex-a\n```python\nrecall = 0.31\n```\nLook at it.\n````",
    "directive": "```{published} cirr\n```\n\n```{glue:any} ladder\n:doc: notebooks/05_cirr.ipynb\n```",
    "inline code": "`recall >= 0.95` is asked for",
    "formula": "Recall is $1 / (N - 1)$, mean $0.5$.",
    "display formula": "$$\n\\text{recall} = 0.5\n$$ (eq-a)",
    "parameter": "At τ = 0.3 recall is best.",
    "parameters": "Recall for tau 0.2, 0.3 and 0.4 is shown.",
    "weight": "With λ = 0.5 both losses count alike; precision is not the point.",
    "interval": "The brackets are 95 % bootstrap intervals of recall.",
    "no metric": "The paper tries 0.2, 0.3 and 0.4.",
    "version": "Python 3.11 scores them.",
    "paper": "See [arXiv 2406.18836](https://arxiv.org/abs/2406.18836) for the scores.",
    "plan": "A lesson of 90 minutes.",
    "measured time": "To read: ten minutes. To run: {glue:text}`run-time` in this build.",
    "counts": "CIRR has 4,181 queries; recall is taken over all.",
    "metric name": "Recall@10 and Recall_subset@1 disagree.",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_typed_result_is_found(text):
    assert typed_in(text)


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_what_is_computed_or_quoted_passes(text):
    assert typed_in(text) == []


def test_a_sentence_in_code_and_a_caption_are_prose_too():
    cell = nbformat.v4.new_code_cell("x = 'Recall@1 is 26.1 here'")
    cell.metadata["mystnb"] = {"figure": {"caption": "IoU, 0.4 at best."}}
    assert [bool(typed_in(text)) for text in told(cell)] == [True, True]
    cell.source = "f'Recall@1 is {x:.1f} %, on {n} queries'"
    assert not any(typed_in(text) for text in told(cell)[1:])
