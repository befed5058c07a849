"""Who asks: tokens, keys, and the caller that they name."""
