"""SEARCH, SORT and THREAD: which messages, in which order, and what is told of them."""
