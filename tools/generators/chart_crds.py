"""`helm/tidemill/templates/crds/`: the CRDs as templates of the chart, which upgrades upgrade."""

from __future__ import annotations

from tools.generators import crds

FOLDER = "helm/tidemill/templates/crds"
_NAMED = "metadata:\n  name: "


def files() -> dict[str, str]:
    """One template a kind."""
    return {name: _template(text) for name, text in crds.files().items()}


def _template(text: str) -> str:
    head, named, rest = text.removeprefix("---\n").replace("{{", '{{ "{{" }}').partition(_NAMED)
    if not named:
        raise ValueError(f"a CustomResourceDefinition doesn't begin its metadata with a name: {text[:200]}")
    name, _, body = rest.partition("\n")
    labels = '  labels:\n    {{- include "tidemill.labels" (list . "crds") | nindent 4 }}\n'
    keep = "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"
    return f"{{{{- if .Values.crds.enabled }}}}\n{head}{named}{name}\n{labels}{keep}{body}{{{{- end }}}}\n"
