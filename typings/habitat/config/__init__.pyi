from contextlib import AbstractContextManager
from typing import Any

def read_write(config: Any) -> AbstractContextManager[Any]: ...
