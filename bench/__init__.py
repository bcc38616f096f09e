"""Benchmarks: each file answers one question, us and the peer in the same run."""
