"""Several processes of one server: how they are started and supervised, and what they tell each other."""
