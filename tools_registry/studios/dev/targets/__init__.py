"""Where an app can be deployed: each target turns the same description into its own files and commands."""
