"""What is learned in a phase: its losses, the extras that learn along, its measure. A method is a list of them."""
