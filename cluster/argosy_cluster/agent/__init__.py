"""What every node does with the tasks it was given."""
