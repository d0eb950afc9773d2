"""Slack: listeners that ack, check and write a row; workers that answer; the one place that posts progress."""
