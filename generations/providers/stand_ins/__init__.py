"""Small servers that stand in for providers, over real HTTP, for rehearsals and tests."""
