"""Servers and workers as plain processes on loopback: what `make up` starts, and the tests one by one."""
