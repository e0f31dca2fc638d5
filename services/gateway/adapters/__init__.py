"""What the gateway keeps in PostgreSQL, writes to the bus, and asks of the services behind."""
