"""DynamoDB's documented rules, each a request that breaks one, with DynamoDB's answer and the page that says so.

`tables` has the tables that the requests are about; the other modules the rows, by what the rule is about. `test_rules`
answers them with rows in memory; tests/integration/test_refused_requests.py through a proxy in `live`.
"""
