"""How a request is read and answered: one socket, one chain, one kind of refusal."""
