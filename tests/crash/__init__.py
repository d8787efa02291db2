"""Kill -9 during a load of deliveries: what the server said yes to is there, whole, once, with its UID."""
