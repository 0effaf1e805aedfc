"""Small tools, independent of distillation."""
