"""How many inputs Hypothesis makes: some in every run, many at night (``--hypothesis-profile nightly``)."""

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
COMMON = {"deadline": None, "database": None, "suppress_health_check": SLOW}
settings.register_profile("tests", max_examples=200, derandomize=True, **COMMON)
settings.register_profile("nightly", max_examples=10_000, print_blob=True, **COMMON)
settings.load_profile("tests")
