"""How a generator is trained: one folder a method."""
