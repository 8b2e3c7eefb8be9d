"""Where a pipeline loads rows, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import Identifier, PartName

TABLE_PATTERN = r"^[a-zA-Z_][a-zA-Z0-9_$]{0,62}\.[a-zA-Z_][a-zA-Z0-9_$]{0,62}$"


class PostgresTable(Model):
    """A table in a Postgres database."""

    table: Annotated[
        str,
        Field(pattern=TABLE_PATTERN, max_length=127, examples=["public.flights"]),
    ]
    """Schema and table, `public.flights`; the schema must be one that the connection lists. Case is kept."""
    create_table: Literal["IfMissing", "Never"] = "IfMissing"
    """Make the table from the rows' columns if it isn't there, or expect it to be there."""

    rules = (
        Rule(
            cel="!self.table.startsWith('tidemill.')",
            message="table can't be in the schema tidemill: that schema is Tidemill's own",
            holds=lambda s: not s.table.startswith("tidemill."),
            field=".table",
        ),
    )


class Sink(Model):
    """Where rows are loaded."""

    name: PartName
    """Name of the sink."""
    input: PartName
    """Source or step whose rows are loaded."""
    connection: PartName
    """A postgres connection of the pool with `access: Write`."""
    postgres: PostgresTable
    """The table."""
    write_disposition: Literal["Append", "Merge", "Replace"]
    """Append adds the rows; Merge updates by primaryKey and adds what is new; Replace makes the table hold exactly
    this run's rows."""
    primary_key: Annotated[tuple[Identifier, ...], Field(max_length=32)] = ()
    """Columns that identify a row, for Merge. Of rows with the same key in one run the last in reading order wins."""

    rules = (
        Rule(
            cel="self.writeDisposition != 'Merge' || (has(self.primaryKey) && size(self.primaryKey) > 0)",
            message="Merge needs primaryKey: the columns that identify a row",
            holds=lambda s: s.write_disposition != "Merge" or len(s.primary_key) > 0,
            field=".primaryKey",
        ),
        Rule(
            cel="self.writeDisposition == 'Merge' || !has(self.primaryKey) || size(self.primaryKey) == 0",
            message="primaryKey has an effect for Merge only",
            holds=lambda s: s.write_disposition == "Merge" or len(s.primary_key) == 0,
            field=".primaryKey",
        ),
        Rule(
            cel="!has(self.primaryKey) || self.primaryKey.all(k, self.primaryKey.exists_one(l, l == k))",
            message="the columns of primaryKey must differ from each other",
            holds=lambda s: len(set(s.primary_key)) == len(s.primary_key),
            field=".primaryKey",
        ),
    )
