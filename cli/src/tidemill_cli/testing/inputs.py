"""The files that a case's sources read: written from rows or text, or lying there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidemill_api.v1alpha1.datapipeline import CSV, Column, DataPipelineSpec, Source
from tidemill_cli.rehearse.folders import Located, at_file, stand_in
from tidemill_cli.testing.model import Case, Rows

FILE = "rows"
"""Name of a file that is made, without its ending."""


class InputError(Exception):
    """Rows can't be written as the source's files are."""


def located(spec: DataPipelineSpec, case: Case, folder: Path, scratch: Path) -> Located:
    """The pipeline as it reads the case's rows; what is made lies in `scratch`. Raises InputError."""
    sources, folders = [], {}
    for source in spec.sources:
        file = _file(source, case.sources[source.name], folder, scratch / source.name)
        sources.append(at_file(source, file))
        folders[source.name] = file.resolve().parent
    return Located(spec.model_copy(update={"sources": tuple(sources)}), folders)


def _file(source: Source, rows: Rows, folder: Path, scratch: Path) -> Path:
    if rows.file is not None:
        return folder / rows.file
    scratch.mkdir()
    form = stand_in(source)
    if form.csv is not None:
        text = rows.csv if rows.csv is not None else as_csv(source, form.csv, rows.rows or ())
        file = scratch / f"{FILE}.csv"
        try:
            file.write_bytes(text.encode(form.csv.encoding))
        except UnicodeEncodeError as error:
            raise InputError(f"source {source.name}: {error}") from None
        return file
    if rows.rows is None:
        raise InputError(f"source {source.name} reads no CSV: give rows, or a file")
    if form.parquet is not None:
        return _parquet(source, rows.rows, scratch / f"{FILE}.parquet")
    objects = [_object(source, row) for row in rows.rows]
    if form.json_lines is not None:
        file = scratch / f"{FILE}.jsonl"
        file.write_text("".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in objects), encoding="utf-8")
        return file
    file = scratch / f"{FILE}.json"
    file.write_text(json.dumps(objects, ensure_ascii=False), encoding="utf-8")
    return file


def _object(source: Source, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row by the names that its file has."""
    names = {column.name: column.from_ or column.name for column in source.columns}
    return {names.get(name, name): value for name, value in row.items()}


def header_of(source: Source, form: CSV, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names that the file of such rows has: those of the declared columns, then what the rows have besides."""
    declared = {column.name: column.from_ or column.name for column in source.columns}
    if not form.header:
        return tuple(declared)
    return tuple(dict.fromkeys([*declared.values(), *(declared.get(name, name) for row in rows for name in row)]))


def as_csv(source: Source, form: CSV, rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a CSV file of the source. Raises InputError."""
    header = header_of(source, form, rows)
    if not header:
        raise InputError(
            f"source {source.name}: rows: [] says nothing of the columns, and none are declared: write `csv:` with a "
            "header"
        )
    names = {(column.from_ if form.header else None) or column.name: column.name for column in source.columns}
    if extra := {name for row in rows for name in row} - {*header, *names.values()}:
        raise InputError(f"source {source.name}: its files have no column {', '.join(sorted(extra))}")
    lines = [header] if form.header else []
    for row in rows:
        values = (row.get(name, row.get(names.get(name, name))) for name in header)
        lines.append(tuple(_cell(value, form.null_values, source.name) for value in values))
    return "".join(_line(cells, form) for cells in lines)


def _line(cells: Sequence[str], form: CSV) -> str:
    if list(cells) == [""]:  # csv writes "" for it, which is a text
        return "\n"
    text = io.StringIO()
    csv.writer(text, delimiter=form.delimiter, quotechar=form.quote, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _cell(value: Any, nulls: Sequence[str], source: str) -> str:
    match value:
        case None if not nulls:
            raise InputError(f"source {source}: its files can't say that there is no value: nullValues is empty")
        case None:
            return nulls[0]
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case _:
            return json.dumps(value)


def _parquet(source: Source, rows: Sequence[Mapping[str, Any]], file: Path) -> Path:
    """Rows as a Parquet file; declared columns have their types, of others the values say them."""
    import pyarrow as pa
    from pyarrow import parquet

    from tidemill_worker.engine.columns import arrow_type

    declared = {one.from_ or one.name: one for one in source.columns}
    names = dict.fromkeys([*declared, *(name for row in rows for name in row)])
    for one in source.columns:
        if one.from_ is not None:
            names.pop(one.name, None)
    arrays = {}
    for name in names:
        column: Column | None = declared.get(name)
        values = [row.get(name, row.get(column.name) if column is not None else None) for row in rows]
        try:
            if column is None:
                arrays[name] = pa.array(values)
            else:
                texts = [None if value is None else _cell(value, ("",), source.name) for value in values]
                arrays[name] = pa.array(texts, pa.string()).cast(arrow_type(column.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(f"source {source.name}: column {name}: {error}") from None
    parquet.write_table(pa.table(arrays), file)
    return file
