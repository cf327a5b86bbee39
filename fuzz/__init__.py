"""Fuzzing: any octets for everything that reads octets of strangers. ``targets`` says what must hold, ``run`` tries."""
