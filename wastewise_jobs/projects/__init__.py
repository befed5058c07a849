"""Properties and the files that their owners uploaded, each owned by one user."""
