"""The documentation: pages in Markdown, and what is drawn and listed from code when Sphinx builds them."""
