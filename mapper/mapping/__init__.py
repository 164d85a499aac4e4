"""The model as a client sees it: schema, rules for values, parameters, requests and answers; no I/O."""
