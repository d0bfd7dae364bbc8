"""What a run will release: the plan, its parts and their shares of the cost, the warm start."""
