"""The checks of what is deployed: `python -m tests.deploy` runs all of them, tests/unit/deploy those that need nothing installed."""
