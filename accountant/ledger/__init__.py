"""What was charged: the chained ledger, its replay, the budget guard, and accounts over many runs."""
