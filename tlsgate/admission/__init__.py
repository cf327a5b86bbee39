"""Who may talk: decided on the client's address, before any byte is read. Each check is one small file."""
