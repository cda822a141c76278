"""Objects as Docker's `inspect` shows them, as far as people script with them."""
