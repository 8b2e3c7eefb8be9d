{{/* Names and labels. */}}

{{- define "tidemill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What all names begin with: at most 40 characters, so that what is put behind stays within a label's 63. */}}
{{- define "tidemill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "tidemill.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tidemill.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The same for objects without a namespace: releases of one name in two namespaces don't meet. */}}
{{- define "tidemill.clustername" -}}
{{- printf "%s:%s" .Release.Namespace (include "tidemill.fullname" .) -}}
{{- end -}}

{{/* For kinds whose names can't hold a colon. */}}
{{- define "tidemill.clusterdnsname" -}}
{{- printf "%s.%s" (include "tidemill.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "tidemill.serviceAccountName" -}}
{{- default (ternary (include "tidemill.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "tidemill.leaseName" -}}
{{- printf "%s-leader" (include "tidemill.fullname" .) -}}
{{- end -}}

{{/* The Secret with the key ring, as the operator mounts it. */}}
{{- define "tidemill.encryptionSecret" -}}
{{- default (printf "%s-encryption" (include "tidemill.fullname" .)) .Values.encryption.existingSecret -}}
{{- end -}}

{{/* Its copy in the namespaces of pools, which the operator keeps: another name, since pools may be in ours too. */}}
{{- define "tidemill.poolEncryptionSecret" -}}
{{- printf "%s-worker-encryption" (include "tidemill.fullname" .) -}}
{{- end -}}

{{- define "tidemill.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels by which the pods of a component are found: (list $ "operator"). They never change. */}}
{{- define "tidemill.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "tidemill.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object: (list $ "operator"), or with more behind them: (list $ "operator" (dict ...)). */}}
{{- define "tidemill.labels" -}}
{{- $root := index . 0 -}}
{{- $ours := dict
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/part-of" "tidemill"
  "helm.sh/chart" (include "tidemill.chart" $root)
-}}
{{- $given := deepCopy $root.Values.commonLabels -}}
{{- if gt (len .) 2 -}}
{{- $given = mustMergeOverwrite $given (deepCopy (index . 2)) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $given $ours (include "tidemill.selector" . | fromYaml)) -}}
{{- end -}}

{{/* An image: (list $ .Values.image). */}}
{{- define "tidemill.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := default $image.registry $root.Values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "tidemill.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Pod Security "restricted", with what the values lay over it. */}}
{{- define "tidemill.podSecurityContext" -}}
{{- $ours := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mustMergeOverwrite $ours (deepCopy .)) -}}
{{- end -}}

{{- define "tidemill.securityContext" -}}
{{- $ours := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mustMergeOverwrite $ours (deepCopy .)) -}}
{{- end -}}

{{/* `host:port` of the operator's own Temporal, or nothing. */}}
{{- define "tidemill.temporalAddress" -}}
{{- if .Values.temporal.address -}}
{{- .Values.temporal.address -}}
{{- else if .Values.devServices.enabled -}}
{{- printf "%s-temporal.%s.svc:7233" (include "tidemill.fullname" .) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{/* Where `helm test` loads its row. */}}
{{- define "tidemill.testNamespace" -}}
{{- if has .Release.Namespace .Values.watch.namespaces | or (not .Values.watch.namespaces) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first .Values.watch.namespaces -}}
{{- end -}}
{{- end -}}
