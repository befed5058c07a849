"""wastewise-jobs."""
