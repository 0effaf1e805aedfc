"""What is found out before the first iteration."""
