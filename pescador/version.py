"""The version of the library."""

short_version = "2.2"
version = "2.2.0"
