"""The PostgreSQL of our own: its binaries, its folder, a server that ends with its last user."""
