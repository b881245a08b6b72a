"""Servers of other people, each started as its documentation says, with no more than it needs.

Each module starts its own on free ports and says how a client opens and how a message is published.
A peer that cannot be had here is skipped with its reason. Nothing of ours is in what they do.
"""
