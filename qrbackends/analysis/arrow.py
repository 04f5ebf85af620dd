"""The parts of delta-rs and pyarrow that archives use, with an ImportError that names the extra."""

from ..messages.extras import missing_extra

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pa_csv
    import pyarrow.dataset as pa_dataset
    import pyarrow.fs as pa_fs
    import pyarrow.parquet as pa_parquet
except ImportError as error:
    raise missing_extra("archives need pyarrow", "arrow") from error
try:
    from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
    from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
    from deltalake.transaction import AddAction, RemoveAction
except ImportError as error:
    raise missing_extra("archives need deltalake", "arrow", "deltalake") from error

__all__ = [
    "AddAction",
    "CommitFailedError",
    "CommitProperties",
    "DeltaError",
    "DeltaTable",
    "PostCommitHookProperties",
    "RemoveAction",
    "Schema",
    "TableNotFoundError",
    "Transaction",
    "pa",
    "pa_csv",
    "pa_dataset",
    "pa_fs",
    "pa_parquet",
    "pc",
]
