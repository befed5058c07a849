"""How the schema comes to be what this release needs: numbered migrations, then functions."""
