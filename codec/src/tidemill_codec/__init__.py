"""What keeps Temporal from reading payloads: key ring, cipher and data converter of operator, worker and CLI."""
