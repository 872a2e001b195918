"""The command line: click commands, one file each. They parse, make one library call, and print with rich."""
