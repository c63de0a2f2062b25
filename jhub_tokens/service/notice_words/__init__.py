"""What notices say, in each language: the only place where these words stand.

A notice has a subject and a text for each kind, with a variant for some reasons
(``time_left.dry``). Names in braces are filled in by `notice_texts`: ``servers`` is a subject of a
sentence (*your server (CPU)*), ``why`` and ``will`` are the reason as a clause of what has
happened and of what is to come.
"""

from __future__ import annotations

from collections.abc import Mapping

from jhub_tokens.service.notice_words import chinese, english
from jhub_tokens.service.notice_words.words import Words

__all__ = ["WORDS", "Words"]

#: The words of each language, by its code.
WORDS: Mapping[str, Words] = {"en": english.WORDS, "zh": chinese.WORDS}
