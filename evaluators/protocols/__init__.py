"""By whose rules a kernel is evaluated."""
