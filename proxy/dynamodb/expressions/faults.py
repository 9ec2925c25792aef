"""The faults of an expression's text that DynamoDB reports only once it has read the whole of it.

Of each kind the first is kept, and of the kinds the first due is reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.dynamodb.expressions.parameters import Parameter, invalid


@dataclass(slots=True)
class ExpressionFaults:
    """The first fault of each kind in one text; None where there is none of the kind."""

    parameter: Parameter
    redundant_parentheses: bool = False
    unknown_function: str | None = None
    misused_function: str | None = None
    reserved_word: str | None = None
    repeated_section: str | None = None
    index_out_of_range: str | None = None
    path_depth: int | None = None
    """The levels of the first path that has too many."""

    def report(self) -> None:
        """Raise ValidationException for the fault that DynamoDB reports of these, if there is one."""
        reason = next(self._reasons(), None)
        if reason is not None:
            raise invalid(self.parameter, reason)

    def _reasons(self) -> Iterator[str]:
        if self.redundant_parentheses:
            yield "The expression has redundant parentheses;"
        reserved = f"Attribute name is a reserved keyword; reserved keyword: {self.reserved_word}"
        if self.reserved_word is not None and self.parameter == "UpdateExpression":
            yield reserved
        if self.unknown_function is not None:
            yield f"Invalid function name; function: {self.unknown_function}"
        if self.misused_function is not None:
            yield (
                f"The function is not allowed to be used this way in an expression; function: {self.misused_function}"
            )
        if self.reserved_word is not None:
            yield reserved
        if self.index_out_of_range is not None:
            yield f"List index is not within the allowable range; index: [{self.index_out_of_range}]"
        if self.path_depth is not None:
            yield f"The document path has too many nesting levels; nesting levels: {self.path_depth}"
        if self.repeated_section is not None:
            yield f'The "{self.repeated_section}" section can only be used once in an update expression;'
