"""Values of labels that a client could make up, bounded to those that are known."""

from typing import Final

from proxy.dynamodb.operations import ACTIONS, LISTING, STATEMENTS

# Operations that the proxy passes through: of tables, backups and streams.
_PASSED_THROUGH: Final = frozenset(
    {
        "CreateBackup",
        "CreateGlobalTable",
        "CreateTable",
        "DeleteBackup",
        "DeleteTable",
        "DescribeBackup",
        "DescribeContinuousBackups",
        "DescribeEndpoints",
        "DescribeStream",
        "DescribeTable",
        "DescribeTimeToLive",
        "GetRecords",
        "GetShardIterator",
        "ListBackups",
        "ListStreams",
        "ListTables",
        "ListTagsOfResource",
        "TagResource",
        "UntagResource",
        "UpdateContinuousBackups",
        "UpdateTable",
        "UpdateTimeToLive",
    }
)
OPERATIONS: Final = ACTIONS | STATEMENTS | {LISTING} | _PASSED_THROUGH
"""Every operation that may be the value of a label."""

OTHER: Final = "other"


def bounded(operation: str) -> str:
    """`operation` if it is one DynamoDB has and we know, else `other`: clients must not make up series."""
    return operation if operation in OPERATIONS else OTHER
