"""Statements about norms: the runs that test each, the rule that decides, and what came out."""
