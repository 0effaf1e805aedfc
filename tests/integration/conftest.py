from tests.distil_detectors import config_of, distil, few_digits, kind, plain, teacher  # noqa: F401  (fixtures)
