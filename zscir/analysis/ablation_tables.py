"""Tables of points: the record of the ablations, a sweep of one's own, and the rows of one study in them.

table, made = recorded()                         # or read_table("_build/sweeps/.../table.csv")
study_rows(table, "tau")                         # a study's rows of a table of many
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from zscir.analysis.ablations import BASE, METRICS, STUDIES
from zscir.retrieval.statistics import Spread, paired_gain, pooled_spread
from zscir.storage.checks import check, one_of
from zscir.storage.paths import results_folder


def study_rows(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows of one study in a table of points, with its label in a column ``label``, in its order.

    Args:
        table: a row a point, as `zscir.run_points` writes it: columns of settings, ``seed``, and metrics.
        study: a name in `STUDIES`.

    Raises:
        ValueError: an unknown study, or a table without the columns that its points differ in.
    """
    check("study", study, one_of(*STUDIES))
    parts = []
    for label, settings in STUDIES[study].items():
        if missing := [name for name in settings if name not in table]:
            raise ValueError(f"the table has no column {missing[0]!r}; it has: {', '.join(table.columns)}")
        wanted = {name: value for name, value in {**BASE, **settings}.items() if name in table}
        wanted.pop("precision", None)  # how it was computed: every study takes the table's
        same = (table[list(wanted)] == pd.Series(wanted, dtype=object)).all(axis=1)
        parts.append(table[same].assign(label=label))
    return pd.concat(parts, ignore_index=True)


def shared_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Of a study's rows those whose seed every label has: means of others could not be compared.

    >>> rows = pd.DataFrame({"label": ["a", "a", "b"], "seed": [0, 1, 1]})
    >>> shared_seeds(rows)["label"].tolist()
    ['a', 'b']
    """
    labels = rows["label"].nunique()
    return rows[rows.groupby("seed")["label"].transform("nunique") == labels].reset_index(drop=True)


def spreads(table: pd.DataFrame) -> dict[str, Spread]:
    """Metric -> how far trainings of one point lie apart over seeds, estimated from all points together.

    Raises:
        ValueError: no point has two seeds.
    """
    by = [name for name in BASE if name in table]
    return {metric: pooled_spread(table, by, metric) for metric in METRICS if metric in table}


def effects(
    studies: Mapping[str, pd.DataFrame], base: pd.DataFrame, metric: str, spread: Spread | None = None
) -> pd.DataFrame:
    """What each choice gains on the base, paired by seed: a row a choice.

    Args:
        studies: name -> rows of ``study_rows``.
        base: rows of the base training; a label whose rows are the base itself is left out.
        metric: column in percent.
        spread: of one training, as `zscir.retrieval.statistics.pooled_spread` gives it; else the rows' own.

    Returns:
        Columns study, label, gain, low, high (points; NaN bounds for a single seed of unknown spread), seeds.
    """
    found = [
        (study, str(label), *paired_gain(own, base, metric, spread=spread))
        for study, rows in studies.items()
        for label, own in rows.groupby("label", sort=False)
        if _settings(own) != _settings(base)
    ]
    return pd.DataFrame(found, columns=["study", "label", "gain", "low", "high", "seeds"])


def _settings(rows: pd.DataFrame) -> set[tuple]:
    """The different settings of some rows, seeds aside."""
    return set(rows[[name for name in BASE if name in rows]].itertuples(index=False, name=None))


def recorded(name: str = "ablations") -> tuple[pd.DataFrame, dict]:
    """A record, a row a training, and how it was made: machine, versions, commit, date, what was chosen.

    Args:
        name: "ablations", or of ``benchmarks/claims.py`` "claims", "map" or "wording".

    Raises:
        FileNotFoundError: the library was installed without its checkout, where the record lies.
    """
    folder = results_folder()
    made = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return _filled(pd.read_csv(folder / f"{name}.csv")), made


def read_table(path: str | Path) -> pd.DataFrame:
    """A table of points, as ``zscir.storage.points`` and ``benchmarks/ablations.py`` write it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it lacks a metric of the chapter, or names no seed.
    """
    path = Path(str(path)).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"table is {str(path)!r}: there is no such file")
    try:
        table = pd.read_csv(path)
    except ValueError as error:  # pandas' own are of this kind
        raise ValueError(f"table is {str(path)!r}, which is no CSV: {error}") from error
    if missing := [name for name in ("seed", *METRICS[:4]) if name not in table]:
        raise ValueError(f"{path} has no column {missing[0]!r}; it has: {', '.join(table.columns)}")
    return _filled(table)


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    """An empty cell of a text is "", so it compares."""
    texts = table[[name for name in table if isinstance(BASE.get(name), str)]].astype(object)
    return table.assign(**texts.where(texts.notna(), "").astype(str))
