"""`crds/`: the CustomResourceDefinition of each kind, lowered from the models."""

from __future__ import annotations

import io

from ruamel.yaml import YAML

from tidemill_api.schema import crd
from tidemill_api.v1alpha1 import GROUP, KINDS

FOLDER = "crds"
_HEADER = "---\n# Made by `make generate` from the models in api/src/tidemill_api/v1alpha1; edit those.\n"


def files() -> dict[str, str]:
    """One file a kind, named as controller-gen names them."""
    return {f"{GROUP}_{kind.served.plural}.yaml": _HEADER + _yaml(crd(kind)) for kind in KINDS}


def _yaml(document: dict[str, object]) -> str:
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()
