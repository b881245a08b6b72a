"""One node among others: what it listens to, asks of them, and does for them."""
