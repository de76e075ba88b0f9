"""The plug-ins, one file each."""
