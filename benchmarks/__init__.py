"""What an item costs: this library, the last public release, and a loop written by hand."""
