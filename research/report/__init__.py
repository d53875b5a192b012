"""What run folders say: intervals, summaries, tables, curves, and mirrors in other viewers. Loads no JAX."""
