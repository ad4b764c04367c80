"""The command line, `vinfer`: one file a verb, thin. docs/cli.md is its manual."""
