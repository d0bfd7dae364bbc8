"""Error feedback against DP-SGD at equal certified ε: the trials, their training and what is made of them."""
