"""One file for each library of environments: which names it `offers`, all its `names`, and `make`, name -> Environment."""
