"""The sample legacy backend: a small cleartext IMAP, POP3 and SMTP server that keeps its mail in memory."""

from tlsgate.demo.mailbox import Mailbox, Message
from tlsgate.demo.server import DemoBackend, serve

__all__ = ["DemoBackend", "Mailbox", "Message", "serve"]
