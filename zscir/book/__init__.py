"""Run the chapters, build the pages, and say what made them."""

from zscir.book.chapters import PROFILES, BookError, declared_parameters, run_chapter
from zscir.book.pages import build
from zscir.book.sweep import plan_chapter, sweep_chapter

__all__ = [
    "BookError",
    "PROFILES",
    "build",
    "declared_parameters",
    "plan_chapter",
    "run_chapter",
    "sweep_chapter",
]
