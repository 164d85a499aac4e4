import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

PACKAGES = (
    "proto_model.formats",
    "proto_model.registry.promotion",
    "proto_model.statistics",
    "proto_model.table",
    "proto_model.training",
    "proto_model.training.evaluation",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_every_name_that_it_offers(package):
    module = importlib.import_module(package)
    for _, home, _ in pkgutil.iter_modules(module.__path__, f"{package}."):
        importlib.import_module(home)
    # A module of the same name would take its place as soon as it is loaded.
    assert [name for name in module.__all__ if isinstance(getattr(module, name), ModuleType)] == []
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_what_lists_versions_loads_no_library_of_training():
    modules = "editing", "history", "listing", "sheet", "tables"
    code = (
        f"import sys; import {', '.join(f'proto_model.registry.catalog.{name}' for name in modules)}\n"
        "print({'sklearn', 'matplotlib', 'scipy.special', 'scipy.stats', 'llvmlite'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
