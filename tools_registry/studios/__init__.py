"""The studio tools, a module or folder each: a TOOL with its declaration and its function. docs/adding-a-tool.md."""
