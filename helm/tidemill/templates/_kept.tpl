{{/*
What is made once and kept: the installation's id, the key ring, the demo's passwords.

They are found again by `lookup`, which sees nothing where no cluster is looked into (`helm template`, Argo CD): there they
would be new at each rendering, and what is in Temporal lost or unreadable. So that is an error, which names the value to give.
*/}}

{{- define "tidemill.needsCluster" -}}
{{- $root := index . 0 -}}
{{- if not (lookup "v1" "Namespace" "" "kube-system") -}}
{{- fail (printf "%s is made once and kept in the cluster, but no cluster is looked into here: give %s (or render with `--dry-run=server`)" (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}

{{/* The installation's id: given, kept, or new. */}}
{{- define "tidemill.installationId" -}}
{{- if .Values.installationId -}}
{{- .Values.installationId -}}
{{- else -}}
{{- $kept := lookup "v1" "ConfigMap" .Release.Namespace (printf "%s-installation" (include "tidemill.fullname" .)) -}}
{{- if and $kept (index (default dict $kept.data) "id") -}}
{{- index $kept.data "id" -}}
{{- else -}}
{{- include "tidemill.needsCluster" (list . "the installation's id" "installationId") -}}
{{- uuidv4 -}}
{{- end -}}
{{- end -}}
{{- end -}}
