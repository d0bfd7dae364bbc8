"""What a ledger proves: its checks, its assumptions and its verdict."""
