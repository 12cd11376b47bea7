"""Short programs, one for each thing that README promises; tests run every one of them."""
