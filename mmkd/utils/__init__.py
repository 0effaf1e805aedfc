"""Small things that know nothing of distillation."""
