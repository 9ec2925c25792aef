"""Pure comparators: two answers in, differences out. Knows no store and no I/O."""
