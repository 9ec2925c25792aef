"""DSQL's own record of which store is the truth, held against what a process believes (docs/decisions/092)."""
