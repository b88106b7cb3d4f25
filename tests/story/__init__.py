"""Whole stories, told in the order in which they happen, through the doors that people and programs use."""
