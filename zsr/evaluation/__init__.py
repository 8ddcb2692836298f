"""One model on one set under one attack at one ε, and what the report shows of it."""
