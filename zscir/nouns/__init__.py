"""Nouns of a caption: found by spaCy and rules, one of them chosen and masked (chapter 2)."""

from zscir.nouns.find import Noun, choose_noun, find_nouns, mask_noun
