{{/* Made by `make generate` from operator/src/tidemill_operator/rights.py; edit that. */}}

{{- define "tidemill.rules.watched" -}}
# read what is wished
- apiGroups: ["tidemill.dev"]
  resources: ["datapipelines"]
  verbs: [get, list, watch]
# finalizer, and the owner of a run by hand
- apiGroups: ["tidemill.dev"]
  resources: ["datapipelines"]
  verbs: [patch]
# tell what was seen
- apiGroups: ["tidemill.dev"]
  resources: ["datapipelines/status"]
  verbs: [patch]
# read what is wished
- apiGroups: ["tidemill.dev"]
  resources: ["workerpools"]
  verbs: [get, list, watch]
# finalizer, and the owner of a run by hand
- apiGroups: ["tidemill.dev"]
  resources: ["workerpools"]
  verbs: [patch]
# tell what was seen
- apiGroups: ["tidemill.dev"]
  resources: ["workerpools/status"]
  verbs: [patch]
# read what is wished
- apiGroups: ["tidemill.dev"]
  resources: ["datapipelineruns"]
  verbs: [get, list, watch]
# finalizer, and the owner of a run by hand
- apiGroups: ["tidemill.dev"]
  resources: ["datapipelineruns"]
  verbs: [patch]
# tell what was seen
- apiGroups: ["tidemill.dev"]
  resources: ["datapipelineruns/status"]
  verbs: [patch]
# read what is wished
- apiGroups: ["tidemill.dev"]
  resources: ["temporalconnections"]
  verbs: [get, list, watch]
# finalizer, and the owner of a run by hand
- apiGroups: ["tidemill.dev"]
  resources: ["temporalconnections"]
  verbs: [patch]
# tell what was seen
- apiGroups: ["tidemill.dev"]
  resources: ["temporalconnections/status"]
  verbs: [patch]
# let children hold up their pool's deletion
- apiGroups: ["tidemill.dev"]
  resources: ["workerpools/finalizers"]
  verbs: [update]
# give runs by hand their pipeline as owner
- apiGroups: ["tidemill.dev"]
  resources: ["datapipelineruns"]
  verbs: [delete]
{{- if .Values.encryption.enabled }}
# give the key ring its pools as owners
- apiGroups: [""]
  resources: ["secrets"]
  verbs: [delete]
  resourceNames: [{{ include "tidemill.poolEncryptionSecret" . }}]
{{- end }}
# the workers of a pool
- apiGroups: ["apps"]
  resources: ["deployments"]
  verbs: [get, list, watch, create, patch]
# the workers' configuration; and queries, each by its name
- apiGroups: [""]
  resources: ["configmaps"]
  verbs: [get, list, create, patch]
# the workers' identity
- apiGroups: [""]
  resources: ["serviceaccounts"]
  verbs: [get, list, create, patch]
# where workers may connect to
- apiGroups: ["networking.k8s.io"]
  resources: ["networkpolicies"]
  verbs: [get, list, create, patch]
{{- with .Values.rbac.temporalConnectionSecrets }}
# credentials of a TemporalConnection
- apiGroups: [""]
  resources: ["secrets"]
  verbs: [get]
  {{- if not (has "*" .) }}
  resourceNames: {{ toJson . }}
  {{- end }}
{{- end }}
{{- if .Values.encryption.enabled }}
# the key ring that workers need
- apiGroups: [""]
  resources: ["secrets"]
  verbs: [get, create, patch]
  resourceNames: [{{ include "tidemill.poolEncryptionSecret" . }}]
{{- end }}
# see why a pool's workers aren't ready
- apiGroups: [""]
  resources: ["pods"]
  verbs: [list]
# say which of a pool's workers go first when there are to be fewer
- apiGroups: [""]
  resources: ["pods"]
  verbs: [patch]
# see whether one is being deleted, when a deletion can't reach Temporal
- apiGroups: [""]
  resources: ["namespaces"]
  verbs: [get]
# see why a pool's workers can't start
- apiGroups: ["events.k8s.io"]
  resources: ["events"]
  verbs: [list]
# tell what happened
- apiGroups: ["events.k8s.io"]
  resources: ["events"]
  verbs: [create]
{{- end -}}

{{- define "tidemill.rules.own" -}}
# the leader's Lease, the first time
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  verbs: [create]
# take and renew it
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  verbs: [get, patch]
  resourceNames: [{{ include "tidemill.leaseName" . }}]
{{- end -}}
