"""The PostgreSQL of our own: its binaries, its folder, and a server that ends with its last user."""
