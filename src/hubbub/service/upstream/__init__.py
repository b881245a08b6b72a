"""What clients say, and what happens to connections, on its way to the app and back."""
