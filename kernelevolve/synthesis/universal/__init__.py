"""The universal operator: one adaptive prompt for drafts, repairs, improvements and crossovers."""
