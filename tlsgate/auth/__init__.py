"""Credentials in, identity or refusal out; one file a source."""
