{{/*
Owns: how Argo Rollouts goes about a canary. Never: a metric that gavel does not have.
*/}}

{{- define "gavel.rolloutStrategy" -}}
{{- $v := .Values -}}
{{- $full := include "gavel.fullname" . -}}
maxSurge: {{ $v.workload.maxSurge }}
maxUnavailable: 0
{{- if $v.httpRoute.enabled }}
stableService: {{ $full }}
canaryService: {{ $full }}-canary
trafficRouting:
  plugins:
    argoproj-labs/gatewayAPI:
      httpRoute: {{ $full }}
      namespace: {{ .Release.Namespace }}
{{- end }}
{{- if $v.canary.rollouts.prometheus }}
analysis:
  templates:
    - templateName: {{ $full }}
  startingStep: 1
  args:
    - name: canary-hash
      valueFrom:
        podTemplateHashValue: Latest
{{- end }}
steps:
  {{- toYaml $v.canary.rollouts.steps | nindent 2 }}
{{- end -}}
