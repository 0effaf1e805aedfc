"""What a network puts out on the way, and how it is brought into another network's shape."""
