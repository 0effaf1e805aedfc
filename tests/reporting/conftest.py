from tests.distil import plain, teacher  # noqa: F401  (fixtures)
