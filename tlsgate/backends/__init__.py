"""Legacy servers: pools, health, fail-over, connecting, logging in."""
