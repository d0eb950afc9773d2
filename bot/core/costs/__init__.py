"""What clusters cost, and whether a team can pay for it. US dollars."""
