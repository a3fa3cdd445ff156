"""The safeguards, each taken out in turn: at least one test must fail without it."""
