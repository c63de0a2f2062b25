"""Locks, sizes, bills of materials, versions and builds of the images."""
