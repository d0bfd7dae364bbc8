"""The price of a plan, and the searches for what a budget affords."""
