from collections.abc import Callable
from typing import Any, TypeVar

Registered = TypeVar("Registered")

class Registry:
    def register_sensor(
        self, to_register: Any = None, *, name: str | None = None
    ) -> Callable[[Registered], Registered]: ...

registry: Registry
