{{/*
Owns: names, labels and images. Never: a decision about a value.
*/}}

{{- define "gavel.fullname" -}}
{{- $base := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $base .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $base -}}
{{- end -}}
{{- end -}}

{{/* What never changes in the life of a release: selectors may hold it. */}}
{{- define "gavel.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gavel.labels" -}}
{{ include "gavel.selector" . }}
app.kubernetes.io/part-of: gavel
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Pods that serve, of every pool and track. */}}
{{- define "gavel.serving" -}}
{{ include "gavel.selector" . }}
app.kubernetes.io/component: exchange
{{- end -}}

{{- define "gavel.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "gavel.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{/* dict root, tag, digest */}}
{{- define "gavel.image" -}}
{{- $image := .root.Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" $image.repository .digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Names of the pools, in order, as a JSON list: a pool that is null is taken away. */}}
{{- define "gavel.pools" -}}
{{- $names := list -}}
{{- range $name, $pool := .Values.pools -}}
{{- if not (kindIs "invalid" $pool) -}}{{- $names = append $names $name -}}{{- end -}}
{{- end -}}
{{- $names | sortAlpha | toJson -}}
{{- end -}}

{{/* apiVersion and kind of the workload, as YAML. */}}
{{- define "gavel.workloadKind" -}}
{{- if eq .Values.canary.kind "rollouts" -}}
apiVersion: argoproj.io/v1alpha1
kind: Rollout
{{- else -}}
apiVersion: apps/v1
kind: {{ .Values.workload.kind }}
{{- end -}}
{{- end -}}

{{/* The security of a container, as Pod Security `restricted` wants it. */}}
{{- define "gavel.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "gavel.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}
