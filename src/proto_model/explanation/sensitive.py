"""Which features tell what nobody should be asked to change, such as sex, race or age: by their names.

A name is split into words (`birthDate`, `birth_date` and `Birth date` are all `birth date`), and only whole
words count: `stage`, `mileage` and `average_income` are not about age. `docs/explanations.md` says more.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

__all__ = ["SENSITIVE", "is_sensitive"]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(","))


#: Words and phrases that make a name sensitive wherever they stand in it, without accents.
SENSITIVE: dict[str, tuple[str, ...]] = {
    "sex": _listed(
        """sex, gender, male, female, pregnant, pregnancy, pregnancies, sexual orientation, sexuality,
        geschlecht, sexe, sexo, genero, sesso"""
    ),
    "race and ethnicity": _listed(
        """race, racial, ethnic, ethnicity, skin color, skin colour, hispanic, caste, tribe, indigenous,
        ethnie, raza, raca, etnia"""
    ),
    "nationality and origin": _listed(
        """nationality, national origin, citizen, citizenship, native country, country of birth,
        birth country, place of birth, birthplace, country of origin, native language, mother tongue,
        immigrant, immigration status, refugee, foreigner, foreign worker, staatsangehorigkeit, nationalitat,
        geburtsort, geburtsland, nationalite, nacionalidad, nacionalidade, nazionalita"""
    ),
    "age": _listed(
        """age, aged, date of birth, birth date, birth day, birth month, birth year, year of birth, dob, yob,
        born, senior citizen, alter, altersgruppe, geburtsdatum, geburtstag, geburtsjahr, naissance, edad,
        nacimiento, idade, nascimento, nascita"""
    ),
    "religion": _listed("religion, religious, konfession, religione, religiao"),
    "marital status": _listed(
        """marital, marital status, married, divorced, widowed, spouse, husband, wife, civil status,
        personal status, relationship status, familienstand, situation familiale, etat civil, estado civil,
        stato civile"""
    ),
    "disability": _listed(
        """disability, disabilities, disabled, handicap, handicapped, behinderung, discapacidad, deficiencia,
        disabilita"""
    ),
    "convictions and genes": _listed(
        """political party, political affiliation, political views, trade union, union member,
        union membership, genetic, veteran"""
    ),
}

_WHOLE_NAMES = {"relationship"}  # sensitive only where they are the whole name
# Next to one of these words, an age or a race is not a person's.
_OF_THINGS = frozenset(
    """account asset auto battery boat building business car company component contract credit debt device
    domain engine equipment file firm flat forest horse house invoice item lap listing loan machine motor
    order page policy product property record roof session ship soil stock subscription ticket track tree
    vehicle website wine yacht""".split()
)
_SHARED = {"age", "aged", "race"}
_BORDER = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_WORD = re.compile(r"[a-z]+")


@cache
def is_sensitive(name: str) -> bool:
    """Whether a feature's name says that it is about sex, race, origin, age, religion, or the like.

    Examples
    --------
    >>> [name for name in ("Age", "ageGroup", "mileage", "average_age", "vehicle age") if is_sensitive(name)]
    ['Age', 'ageGroup', 'average_age']
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    words = _WORD.findall(_BORDER.sub(" ", plain).lower())
    if " ".join(words) in _WHOLE_NAMES:
        return True
    found = {phrase for phrases in SENSITIVE.values() for phrase in phrases if _holds(words, phrase)}
    return bool(found - _SHARED) or (bool(found) and _OF_THINGS.isdisjoint(words))


def _holds(words: list[str], phrase: str) -> bool:
    """Whether the words hold a phrase, apart or written as one word."""
    parts = phrase.split()
    apart = any(words[i : i + len(parts)] == parts for i in range(len(words)))
    return apart or "".join(parts) in words
