from hypothesis import given
from hypothesis import strategies as st

from proto_model.texts import MAX_CHARACTERS, MAX_TERMS, mask_of, terms_of_mask, words


@given(st.text())
def test_words_are_lower_case_letters_and_digits(text):
    for word in words(text):
        assert word.isalnum()
        assert "_" not in word


@given(st.sets(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=1, max_size=MAX_TERMS), st.data())
def test_a_mask_tells_which_terms_a_text_has(terms, data):
    terms = sorted(terms)
    bits = {term: 1 << bit for bit, term in enumerate(terms)}
    held = data.draw(st.sets(st.sampled_from(terms)))

    mask = mask_of(" ".join([*held, "0"]), bits)

    assert terms_of_mask(mask, terms) == sorted(held)
    assert int(mask) == sum(bits[term] for term in held)  # exact as a float64


def test_of_a_long_text_the_beginning_counts():
    bits = {"late": 1}

    assert mask_of("x " * (MAX_CHARACTERS // 2 - 2) + "late", bits) == 1
    assert mask_of("x " * (MAX_CHARACTERS // 2) + "late", bits) == 0
