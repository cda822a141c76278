"""What a manager does with services: keeps tasks running, places them, tells nodes."""
