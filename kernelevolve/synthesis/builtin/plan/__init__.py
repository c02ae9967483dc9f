"""What a traced program becomes before it is written: target-neutral rewrites, fusion, and what is left to libraries."""
