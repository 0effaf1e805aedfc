"""What makes both networks faster while they train."""
