"""Protocol dialogues, sans-IO: bytes in, events out; values in, bytes out.

Each server-side dialogue (``imap.Imap``, ``pop3.Pop3``, ``smtp.Submission``) speaks our side towards a client, and
each backend-side one (``imap_backend``, ``pop3_backend``, ``smtp_backend``) speaks the client's side towards a
legacy server. No sockets, no clock, no await; time, I/O, logs and metrics are the caller's.

``receive(data)`` appends what came from the wire, ``next_event()`` gives a typed event or ``NEED_DATA``,
``send(action)`` turns the caller's decision into bytes, ``handover()`` gives the bytes that were not consumed.
"""
