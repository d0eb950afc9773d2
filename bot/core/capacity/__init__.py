"""Where GPU machines may be had, how far an order has come through its places, and what to take instead."""
