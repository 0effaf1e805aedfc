"""Durations in words."""


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 9.95:
        return f'{seconds:.1f} s'
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours:,} h {minutes} min'
    return f'{minutes} min {seconds} s' if minutes else f'{seconds} s'
