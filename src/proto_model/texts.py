"""What counts of a text: which of its words are among a feature's terms.

Words are runs of letters and digits, in lower case and in Unicode's compatibility form (NFKC), so that
`Refund` and `refund` are the same one, however wide their letters are. Of a long text, the beginning counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["MAX_CHARACTERS", "MAX_TERMS", "mask_of", "terms_of_mask", "words"]

#: What comes after so many characters of a text does not count.
MAX_CHARACTERS = 10_000

#: Terms of a feature: one bit each of a number that a float64 holds exactly.
MAX_TERMS = 48

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> Iterable[str]:
    """Words of a text in order, each as often as it occurs.

    Examples
    --------
    >>> list(words("Refund, please: order_7!"))
    ['refund', 'please', 'order', '7']
    """
    text = text[:MAX_CHARACTERS]
    return _WORD.findall((text if text.isascii() else unicodedata.normalize("NFKC", text)).lower())


def mask_of(text: str, bits: Mapping[str, int]) -> float:
    """Sum of the bits of the terms that a text has."""
    mask = 0
    for word in words(text):
        mask |= bits.get(word, 0)
    return float(mask)


def terms_of_mask(mask: float, terms: Sequence[str]) -> list[str]:
    """The terms whose bits a mask has.

    Examples
    --------
    >>> terms_of_mask(5.0, ("blue", "green", "red"))
    ['blue', 'red']
    """
    return [term for bit, term in enumerate(terms) if int(mask) >> bit & 1]
