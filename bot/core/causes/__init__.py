"""Why something is late or has failed: the words of others, the catalogue of failures, and what is said of them."""
