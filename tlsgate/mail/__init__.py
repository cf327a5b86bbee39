"""SMTP transactions: the envelope and the end of data are understood, the body streams through."""
