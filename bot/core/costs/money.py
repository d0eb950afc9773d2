"""US dollars: how they are counted and written."""

from __future__ import annotations

HOURS_A_MONTH = 730.0
"""Hours in a month as AWS counts them for what is priced by the month."""


def dollars(amount: float) -> str:
    """$1,234.50; what is below a cent, as a cent's part."""
    return f"${amount:,.2f}" if amount == 0 or abs(amount) >= 0.01 else f"${amount:.4f}"
