"""Functions that a tool could have: what the story of a run is told with."""
