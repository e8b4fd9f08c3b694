"""Environments and CI roles, as the folder live/ describes them."""
