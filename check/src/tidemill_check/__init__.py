"""What a schema can't say about a manifest: pure checks, the same for the operator, the worker and `tidemill lint`.

No I/O here, no clock. Each check returns `Problem`s, all of them at once, with the path of the field at fault.
"""

from tidemill_check.problem import Problem

__all__ = ["Problem"]
