"""What tells operators what happens: log events, metrics, the admin address. Nothing here decides."""
