from tests.distil import distil, plain, teacher  # noqa: F401  (fixtures)
