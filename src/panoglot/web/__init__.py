"""The server: an HTTP API over a dataset, and one page to search it with."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.web._http import Answer
    from panoglot.web._review import Review
    from panoglot.web._routes import ROUTES
    from panoglot.web._serve import Server, serve

__all__ = [
    "ROUTES",
    "Answer",
    "Review",
    "Server",
    "serve",
]

__getattr__, __dir__ = lazy_names(
    __name__, {"Answer": "_http", "Review": "_review", "ROUTES": "_routes", "Server": "_serve", "serve": "_serve"}
)
