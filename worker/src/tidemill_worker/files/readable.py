"""What the system and the decompressors raise of a file, as one typed error."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from tidemill_api.errors import SourceUnreadable


@contextmanager
def readable(label: str) -> Iterator[None]:
    """Raises SourceUnreadable for them, with the file's label; other errors pass."""
    try:
        yield
    except gzip.BadGzipFile as error:  # its words quote how the file begins
        raise SourceUnreadable(f"{label} is truncated, corrupt or not compressed as its name says") from error
    except (zlib.error, zipfile.BadZipFile, EOFError) as error:
        raise SourceUnreadable(f"{label} is truncated, corrupt or not compressed as its name says: {error}") from error
    except (NotImplementedError, RuntimeError) as error:  # a zip with a password, or an unknown method
        raise SourceUnreadable(f"{label} can't be uncompressed: {error}") from error
    except OSError as error:
        if error.errno is None and not error.strerror and error.args:  # of Arrow, which uncompresses zstd
            raise SourceUnreadable(
                f"{label} is truncated, corrupt or not compressed as its name says: {error.args[0]}"
            ) from error
        raise SourceUnreadable(f"{label} can't be read: {error.strerror or type(error).__name__}") from error
