"""Requests: what a command is asked, read from its arguments and checked before anything is written."""
