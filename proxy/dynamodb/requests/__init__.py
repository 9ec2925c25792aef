"""The form of requests: what DynamoDB refuses before it looks for a table. Pure; knows no schema and no item.

`form` is the door. `constraints` has the members' own limits, `batches` the lists of parts, `write_parameters`,
`page_parameters` and `item_projection` what a write, a page and a read of an item ask for, `wording` in which words an
operation refuses.
"""
