"""What the scripts beside this one share: the reference machine, the date of a record, and where it goes."""

import json
from datetime import UTC, datetime
from pathlib import Path

#: Any machine as the reference machine.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def today() -> str:
    """The date of a record."""
    return datetime.now(UTC).date().isoformat()


def write(record: dict, out: Path | None) -> None:
    """Print a record and store it."""
    text = json.dumps(record, indent=1)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
