import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.explanation.sensitive import SENSITIVE, is_sensitive


@pytest.mark.parametrize(
    "name",
    [
        *(
            "sex",
            "Sex",
            "GENDER",
            "applicant_gender",
            "adult_male",
            "race",
            "raceEthnicity",
            "ETHNICITY",
            "skinColor",
        ),
        *(
            "age",
            "Age",
            "AGE",
            "age_cat",
            "ageGroup",
            "customer_age",
            "average_age",
            "AgeAtDiagnosis",
            "age1",
            "DOB",
        ),
        *(
            "birth_date",
            "birthDate",
            "date-of-birth",
            "dateofbirth",
            "BirthYear",
            "SeniorCitizen",
            "seniorcitizen",
        ),
        *("native-country", "nationality", "citizenship", "foreign_worker", "country of birth", "religion"),
        *(
            "marital-status",
            "maritalstatus",
            "MaritalStatus",
            "is_married",
            "personal_status_sex",
            "relationship",
        ),
        *(
            "disability",
            "is_disabled",
            "Geschlecht",
            "Âge",
            "género",
            "Staatsangehörigkeit",
            "fecha_nacimiento",
        ),
    ],
)
def test_names_of_what_nobody_should_be_asked_to_change(name):
    assert is_sensitive(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "stage",
            "mileage",
            "average_income",
            "voltage",
            "percentage",
            "usage",
            "page",
            "package",
            "language_skill",
        ),
        *(
            "wage",
            "wages",
            "manager",
            "agency",
            "engagement",
            "agent",
            "coverage",
            "image",
            "postage",
            "storage",
        ),
        *("trace", "brace", "racer", "grace", "sextant", "essex", "Middlesex", "genre", "eta", "birth_rate"),
        *(
            "vehicle_age",
            "HouseAge",
            "account age",
            "age of building",
            "horse race",
            "race_track",
            "relationship_manager",
        ),
        *("income", "capital-gain", "hours-per-week", "worst area", "color", "", "   ", "x1", "日本"),
    ],
)
def test_names_that_only_look_like_it(name):
    assert not is_sensitive(name)


@given(
    phrase=st.sampled_from([phrase for phrases in SENSITIVE.values() for phrase in phrases]),
    style=st.sampled_from(
        [" ".join, "_".join, "-".join, "".join, lambda w: "".join(x.title() for x in w), ".".join]
    ),
    before=st.sampled_from(["", "the_", "client ", "2. ", "is-"]),
)
def test_every_phrase_is_found_in_every_spelling(phrase, style, before):
    assert is_sensitive(before + style(phrase.split()))
    assert is_sensitive((before + style(phrase.split())).upper() + "_2")


@given(st.text(max_size=40))
def test_any_text_may_be_a_name(name):
    assert is_sensitive(name) in (True, False)
