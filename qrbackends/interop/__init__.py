"""Other libraries' views of what the service sends; each module needs the extra of its name."""
