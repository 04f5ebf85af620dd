"""The parts of pyarrow that archives use, imported once, with an ImportError that names the extra."""

from ..messages.extras import missing_extra

try:
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.dataset as pa_dataset
    import pyarrow.fs as pa_fs
    import pyarrow.parquet as pa_parquet
except ImportError as error:
    raise missing_extra("archives need pyarrow", "arrow") from error

__all__ = ["pa", "pa_csv", "pa_dataset", "pa_fs", "pa_parquet"]
