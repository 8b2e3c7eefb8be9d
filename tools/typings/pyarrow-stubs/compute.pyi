# pyarrow makes these functions at import time, where a type checker can't see them.
from typing import Any

def __getattr__(name: str) -> Any: ...
