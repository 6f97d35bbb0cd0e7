{{/*
Owns: what the Ingress and the HTTPRoutes share: where events come, to which hosts, and what stands in
front. Never: a weight (see entry.yaml).
Invariant: a URL of ours leads to `/e`, which is all that gavel takes, whatever path `events.url` has.
*/}}

{{/* Whether an ALB carries the requests: "true" or nothing. */}}
{{- define "gavel.isBehindAlb" -}}
{{- $v := .Values -}}
{{- if or $v.ingress.enabled (and $v.httpRoute.enabled (eq $v.httpRoute.behind "alb")) -}}true{{- end -}}
{{- end -}}

{{/* The port of the Service: behind an NLB with a certificate there is that of TLS alone. */}}
{{- define "gavel.servicePort" -}}
{{- $nlb := .Values.service.nlb -}}
{{- ternary 443 (int .Values.service.port) (and $nlb.enabled (ne $nlb.certificateArn "")) -}}
{{- end -}}

{{/* The path of `events.url`, without a slash at its end; mostly nothing. */}}
{{- define "gavel.eventsBase" -}}
{{- regexReplaceAll "^https?://[^/]*" .Values.events.url "" | trimSuffix "/" -}}
{{- end -}}

{{/* Hosts of an entry that names some, and that of `events.url`, as a JSON list: dict root, hosts. An
address is no host, and a wildcard covers its own. */}}
{{- define "gavel.eventsHosts" -}}
{{- $hosts := .hosts -}}
{{- $host := regexReplaceAll "^https?://([^/:]*).*$" .root.Values.events.url "${1}" | lower -}}
{{- $isCovered := not (regexMatch "^[a-z0-9.-]*[a-z][a-z0-9-]*$" $host) -}}
{{- range $one := $hosts -}}
{{- if or (eq $one $host) (and (hasPrefix "*." $one) (hasSuffix (trimPrefix "*" $one) $host)) -}}{{- $isCovered = true -}}{{- end -}}
{{- end -}}
{{- ternary $hosts (append $hosts $host) (or (empty $hosts) $isCovered) | toJson -}}
{{- end -}}

{{/* Paths of an Ingress: dict root, paths (each with its type). */}}
{{- define "gavel.ingressPaths" -}}
{{- $full := include "gavel.fullname" .root -}}
{{- range $path, $type := .paths }}
- path: {{ $path }}
  pathType: {{ $type }}
  backend:
    service:
      name: {{ $full }}
      port:
        name: http
{{- end }}
{{- end -}}
