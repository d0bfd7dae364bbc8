"""Rivals and ceilings: how each is planned and with what it trains. They run as any method does."""
