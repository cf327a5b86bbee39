"""Processes: what ours may do on this host."""
