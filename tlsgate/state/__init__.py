"""Counts, rates and records that more than one session shares: in memory, or behind the same interface elsewhere."""
