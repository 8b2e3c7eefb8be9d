"""Manifests and files of a small pipeline of flights, for commands that work on folders."""

POOL = """
apiVersion: tidemill.dev/v1alpha1
kind: WorkerPool
metadata: {name: etl, namespace: travel}
spec:
  connections:
    - {name: landing, files: {url: "file:///nowhere/landing/"}}
    - {name: warehouse, postgres: {dsn: {secretKeyRef: {name: warehouse, key: dsn}}, access: Write}}
  metastore: {connection: warehouse}
"""
PIPELINE = """
apiVersion: tidemill.dev/v1alpha1
kind: DataPipeline
metadata: {name: flights, namespace: travel}
spec:
  workerPoolRef: {name: etl}
  parameters:
    - {name: carrier, default: ""}
  sources:
    - name: raw
      connection: landing
      files: {path: "flights*.csv", format: {csv: {nullValues: ["", "NA"]}}}
      columns:
        - {name: month, type: int32, required: true}
        - {name: carrier, type: string}
        - {name: flown, type: timestamptz}
    - name: airlines
      connection: landing
      files: {path: airlines.csv, format: {csv: {}}}
  steps:
    - name: valid
      inputs: [raw]
      validate:
        rules:
          - {name: month-in-range, expression: "month BETWEEN 1 AND 12"}
    - name: named
      inputs: [valid, airlines]
      sql: {query: "SELECT v.*, a.name AS airline FROM valid v LEFT JOIN airlines a USING (carrier)
        WHERE $carrier IN ('', v.carrier)"}
  sinks:
    - name: named
      input: named
      connection: warehouse
      postgres: {table: public.flights}
      writeDisposition: Merge
      primaryKey: [month, airline]
"""
FLIGHTS = """\
month,carrier,flown
1,UA,2013-01-01T05:15:00Z
13,UA,2013-01-01T05:29:00Z
2,AA,NA
x,AA,NA
3,ZZ,NA
"""
AIRLINES = "carrier,name\nUA,United\nAA,American\n"
SQL = "SELECT v.*, a.name AS airline FROM valid v LEFT JOIN airlines a USING (carrier)"
"""The beginning of its step's query, to put another one in its place."""
