"""Functions that do what no tool may do. The server of the tests is told of this package; ours never is."""
