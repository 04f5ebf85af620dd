"""The views of other libraries, against what their own clients see."""
