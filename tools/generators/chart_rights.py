"""`helm/tidemill/templates/rights/`: RBAC rules of the operator, from the table of what its code calls."""

from __future__ import annotations

from collections.abc import Iterable

from tidemill_operator.rights import OWN, WATCHED, Right

FOLDER = "helm/tidemill/templates/rights"
_NOTE = "{{/* Made by `make generate` from operator/src/tidemill_operator/rights.py; edit that. */}}"


def files() -> dict[str, str]:
    """One file of named templates."""
    parts = (_NOTE, _define("tidemill.rules.watched", WATCHED), _define("tidemill.rules.own", OWN))
    return {"_rules.tpl": "\n\n".join(parts) + "\n"}


def _define(name: str, rights: Iterable[Right]) -> str:
    rules = "\n".join(_rule(right) for right in rights)
    return f'{{{{- define "{name}" -}}}}\n{rules}\n{{{{- end -}}}}'


def _rule(right: Right) -> str:
    lines = [
        f"# {right.why}",
        f'- apiGroups: ["{right.group}"]',
        f'  resources: ["{right.resource}"]',
        f"  verbs: [{', '.join(right.verbs)}]",
    ]
    match right.named:
        case "any":
            pass
        case "lease":
            lines.append('  resourceNames: [{{ include "tidemill.leaseName" . }}]')
        case "temporal":
            lines = [
                "{{- with .Values.rbac.temporalConnectionSecrets }}",
                *lines,
                '  {{- if not (has "*" .) }}',
                "  resourceNames: {{ toJson . }}",
                "  {{- end }}",
                "{{- end }}",
            ]
        case "encryption":
            lines.append('  resourceNames: [{{ include "tidemill.poolEncryptionSecret" . }}]')
            lines = ["{{- if .Values.encryption.enabled }}", *lines, "{{- end }}"]
    return "\n".join(lines)
