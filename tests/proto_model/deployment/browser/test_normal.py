"""Random numbers as NumPy draws them."""

import numpy as np

from proto_model.deployment.browser.normal import normal_tables


def drawn(generator, widths, bounds):
    """The next normal number by the tables, None where NumPy needs more than one random number."""
    bits = int(generator.bit_generator.random_raw())
    strip, sign, place = bits & 255, bits >> 8 & 1, bits >> 9 & (1 << 52) - 1
    number = place * widths[strip]
    return None if place >= bounds[strip] else -number if sign else number


def test_the_tables_are_those_that_numpy_draws_by():
    widths, bounds = normal_tables()
    for seed in range(200):
        wanted = np.random.Generator(np.random.SFC64(seed)).standard_normal()
        found = drawn(np.random.Generator(np.random.SFC64(seed)), widths, bounds)
        assert found is None or found == wanted


def test_a_place_below_the_bound_takes_one_random_number():
    widths, bounds = normal_tables()

    assert widths.shape == bounds.shape == (256,)
    assert (widths > 0).all()
    assert (bounds < 2.0**52).all()
    assert np.isclose(widths[255] * 2.0**52, 3.6541528853610088)  # where NumPy's tail begins
