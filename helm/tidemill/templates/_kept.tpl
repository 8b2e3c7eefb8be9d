{{/*
What is made once and kept: the installation's id, the key ring, the demo's passwords.

They are found again by `lookup`, which sees nothing where no cluster is looked into (`helm template`, Argo CD): there they
would be new at each rendering, and what is in Temporal lost or unreadable. So that is an error, which names the value to give.

Secrets are made by a hook, and only where there is none: in no revision's manifest, or a rollback would write what that
revision knew over keys that were added since, and an uninstall would take them away.
*/}}

{{/* Annotations of a Secret that is made once. */}}
{{- define "tidemill.madeOnce" -}}
helm.sh/hook: pre-install,pre-upgrade
# Without a policy Helm deletes what is there before it makes a hook's object. This one only undoes a making that failed.
helm.sh/hook-delete-policy: hook-failed
helm.sh/resource-policy: keep
# An earlier chart has it in its manifest: the way back to that takes it over, with what it holds.
meta.helm.sh/release-name: {{ .Release.Name }}
meta.helm.sh/release-namespace: {{ .Release.Namespace }}
{{- end -}}

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
