"""Options that make both networks faster during training."""
