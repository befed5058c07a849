"""`python -m wastewise_jobs` is `wastewise-jobs`."""

from wastewise_jobs.cli import main

if __name__ == "__main__":
    main()
