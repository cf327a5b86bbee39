"""Looks at a deployment from outside; one file an examination, each gives findings."""
