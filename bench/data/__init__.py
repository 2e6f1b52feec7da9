"""The data that tables are measured on, and where they are found."""
